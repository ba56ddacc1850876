"""Name syntax, safety and order (02 CERT-6, CERT-7)."""

from __future__ import annotations

import contextlib
import unicodedata

import idna
import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from certctl_core.pki import names
from certctl_core.pki.errors import MalformedName, NameRejected, UnsafeName, UnsupportedName
from certctl_core.pki.names import GeneralName, NameType, parse_general_name


@pytest.mark.spec("02/CERT-6")
@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("localhost", "dns", "localhost"),
        ("Example.COM", "dns", "example.com"),
        ("*.example.com", "dns", "*.example.com"),
        ("10.0.0.1", "ip", "10.0.0.1"),
        ("2001:DB8:0:0::1", "ip", "2001:db8::1"),
        ("::1", "ip", "::1"),
        ("Jo.Doe@Example.com", "email", "Jo.Doe@example.com"),
        ("spiffe://Example.test/ns/prod/sa/web", "uri", "spiffe://example.test/ns/prod/sa/web"),
        ("HTTPS://example.com:8443/a?b=%20#c", "uri", "https://example.com:8443/a?b=%20#c"),
        ("https://[2001:db8::0:1]/x", "uri", "https://[2001:db8::1]/x"),
        ("urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e", "uri",
         "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e"),
        ("日本語.test", "dns", idna.encode("日本語.test").decode()),
        ("*.ДОМЕН.test", "dns", "*." + idna.encode("домен.test").decode()),
        ("xn--wgv71a119e.test", "dns", "xn--wgv71a119e.test"),
        ("用户@例子.test".replace("用户", "info"), "email",
         "info@" + idna.encode("例子.test").decode()),
        ("a-b.c--d.test".replace("c--d", "cd--e"[1:]), "dns", "a-b.d--e.test"),
    ],
)  # fmt: skip
def test_type_is_recognised(text, kind, value):
    assert parse_general_name(text) == GeneralName(type=NameType(kind), value=value)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        ".",
        "example..com",
        ".example.com",
        "example.com.",
        "-a.example.com",
        "a-.example.com",
        "a_b.example.com",
        "a b.example.com",
        "*",
        "a*.example.com",
        "*a.example.com",
        "www.*.example.com",
        "*.*.example.com",
        "x" * 64 + ".example.com",
        ".".join(["a" * 60] * 5),
        "1.2.3.999",
        "1.2.3",
        "10.0.0.1/24",
        "fe80::1%eth0",
        "ab--cd.example.com",
        "xn--a.example.com",
        "xn--.example.com",
        "user@",
        "@example.com",
        "a@b@example.com",
        "us er@example.com",
        "user@*.example.com",
        "user@[10.0.0.1]",
        "ü@example.com",
        "http://",
        "http://exa mple.com/",
        "http://*.example.com/",
        "http://a_b/",
        "http://example.com/%zz",
        "http://example.com/<x>",
        "http://[::g]/",
        "urn:",
        "-.test",
        "日本語。test",
        "a" * 300,
        "http://example.com/" + "a" * 2100,
    ],
)
def test_broken_syntax_is_refused(bad):
    with pytest.raises(NameRejected):
        parse_general_name(bad)


UNSAFE = [
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    *range(0x200B, 0x200E),
    0x2060,
    0xFEFF,
    *range(0x20),
    0x7F,
    *range(0x80, 0xA0),
]


@pytest.mark.spec("02/CERT-7")
@pytest.mark.parametrize("code", UNSAFE, ids=lambda code: f"U+{code:04X}")
def test_invisible_characters_are_refused_everywhere(code):
    bad = chr(code)
    for text in (
        f"a{bad}b.example.com",
        f"{bad}.example.com",
        f"jo{bad}e@example.com",
        f"https://example.com/{bad}",
        f"{bad}10.0.0.1",
        f"例{bad}子.test",
    ):
        with pytest.raises(UnsafeName) as caught:
            parse_general_name(text)
        assert str(caught.value).isascii()
    with pytest.raises(UnsafeName):
        names.check_common_name(f"Example{bad} CA")


@pytest.mark.spec("02/CERT-7")
@pytest.mark.parametrize(
    "text",
    ["pаypal.example.com", "bücher.example.com", "a日.test", "1日.test", "e\u0301cole.test",
     "a٣.test", "joе@example.com", "xn--bcher-kva.example.com", "https://pаypal.test/"],
)  # fmt: skip
def test_mixed_labels_are_refused(text):
    with pytest.raises(UnsafeName):
        parse_general_name(text)
    if "@" not in text and "/" not in text:
        with pytest.raises(UnsafeName):
            names.check_common_name(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Example Root CA", "Example Root CA"),
        ("JDoe", "JDoe"),
        ("WWW.Example.COM", "www.example.com"),
        ("日本語.test", idna.encode("日本語.test").decode()),
        ("東京 認証局", "東京 認証局"),
        ("Dr. Jo Doe", "Dr. Jo Doe"),
        ("a" * 64, "a" * 64),
        ("svc_a.prod", "svc_a.prod"),
    ],
)
def test_common_names(text, expected):
    assert names.check_common_name(text) == expected


@pytest.mark.parametrize("text", ["", " a", "a ", "a" * 65, "xn--a.example.com", "xn--"])
def test_bad_common_names(text):
    with pytest.raises(MalformedName):
        names.check_common_name(text)


def test_common_name_that_is_a_host_becomes_a_san():
    def kind(text):
        name = names.common_name_as_san(text)
        return name and name.type

    assert kind("www.example.com") is NameType.DNS
    assert kind("localhost") is NameType.DNS
    assert kind("10.0.0.1") is NameType.IP
    assert kind("Jo Doe") is None
    assert kind("jo@example.com") is None
    assert kind("urn:x:y") is None


def test_sorting_is_deterministic_and_removes_duplicates():
    texts = ["urn:a:b", "b.test", "a.test", "::1", "x@a.test", "B.test", "10.0.0.1"]
    given = [parse_general_name(text) for text in texts]
    expected = ["a.test", "b.test", "10.0.0.1", "::1", "x@a.test", "urn:a:b"]
    assert [name.value for name in names.sort_names(given)] == expected
    assert names.sort_names(reversed(given)) == names.sort_names(given)


def test_round_trip_through_the_library():
    given = names.sort_names(
        parse_general_name(text)
        for text in ("a.test", "*.b.test", "10.0.0.1", "::1", "x@a.test", "spiffe://a.test/b")
    )
    assert names.from_x509(names.to_x509(given)) == given
    assert names.from_x509(names.to_x509(given), strict=True) == given


def test_other_types_are_left_out_or_refused():
    odd = x509.SubjectAlternativeName(
        [x509.DNSName("a_b"), x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))]
    )
    assert names.from_x509(odd) == (GeneralName(type=NameType.DNS, value="a_b"),)
    with pytest.raises(MalformedName):
        names.from_x509(odd, strict=True)
    with pytest.raises(UnsupportedName):
        names.from_x509(list(odd)[1:], strict=True)


@given(st.text(max_size=80))
def test_garbage_never_escapes_the_error_tree(text):
    with contextlib.suppress(NameRejected):
        names.check_common_name(text)
    try:
        result = parse_general_name(text)
    except NameRejected as error:
        shown = str(error)
    else:
        shown = result.value
        assert parse_general_name(shown) == result
    assert shown.isascii()


LABEL = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?\Z").filter(lambda t: t[2:4] != "--")


@given(st.lists(LABEL, min_size=1, max_size=5))
def test_every_ldh_name_is_accepted(labels):
    name = ".".join([*labels, "test"])
    assert parse_general_name(name).value == name


@given(st.text(alphabet="абвгдежзиклмн日本語例子", min_size=1, max_size=10))
def test_idn_labels_decode_to_themselves(label):
    try:
        value = names.parse_dns(f"{label}.test")
    except MalformedName:
        return
    assert idna.decode(value) == unicodedata.normalize("NFC", f"{label}.test")
