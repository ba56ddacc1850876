"""PKCS#11 URIs (RFC 7512), as references to keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl_core.pki.errors import MalformedPKCS11URI
from certctl_core.pki.pkcs11_uri import PKCS11URI, is_pkcs11_uri, parse_pkcs11_uri

pytestmark = pytest.mark.spec("02/SIGN-8")

texts = st.text(st.characters(codec="utf-8").filter(str.isprintable), max_size=40)
paths = texts.map(lambda text: f"/{text}") | st.just("")


@given(
    uri=st.builds(
        PKCS11URI,
        token=texts,
        manufacturer=texts,
        model=texts,
        serial=texts,
        object=texts,
        id=st.binary(max_size=40),
        module_path=paths,
        pin_file=paths.filter(lambda path: not path.startswith("//")),
    )
)
def test_what_is_written_is_read_again(uri: PKCS11URI) -> None:
    assert parse_pkcs11_uri(str(uri)) == uri
    assert is_pkcs11_uri(str(uri))
    assert str(uri).isascii()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("pkcs11:", PKCS11URI()),
        # The examples of RFC 7512 §3, as far as they name a private key.
        (
            ("pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,"
            "%20Inc.;model=1.0;object=my-certificate;type=private;id=%69%95%3E%5C%F4%BD%EC%91;"
            "serial=?pin-source=file:/etc/token_pin"),
            PKCS11URI(
                token="The Software PKCS#11 Softtoken",
                manufacturer="Snake Oil, Inc.",
                model="1.0",
                object="my-certificate",
                id=bytes.fromhex("69953e5cf4bdec91"),
                pin_file="/etc/token_pin",
            ),
        ),
        (
            "pkcs11:object=my-sign-key;type=private?module-path=/usr/lib/a%20b.so",
            PKCS11URI(object="my-sign-key", module_path="/usr/lib/a b.so"),
        ),
        ("pkcs11:token=A%20name%20with%20a%20substring%20%25%3B", PKCS11URI(
            token="A name with a substring %;")),
        ("pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1", PKCS11URI(
            token="Name with a small A with acute: á")),
        ("pkcs11:object=x?pin-source=file:///etc/pin", PKCS11URI(object="x", pin_file="/etc/pin")),
    ],
)  # fmt: skip
def test_reads_the_examples_of_the_standard(text: str, wanted: PKCS11URI) -> None:
    assert parse_pkcs11_uri(text) == wanted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no pkcs11"),
        ("PKCS11:object=x", "no pkcs11"),
        ("pkcs11:object=" + "x" * 3000, "no pkcs11"),
        ("pkcs11:object", "malformed"),
        ("pkcs11:object=a b", "malformed"),
        ("pkcs11:object=%4", "malformed"),
        ("pkcs11:object=x;", "malformed"),
        ("pkcs11:object=%ff", "readable"),
        ("pkcs11:object=a%0ab", "readable"),
        ("pkcs11:object=x;object=x", "twice"),
        ("pkcs11:slot-id=3", "slot-id is not supported"),
        ("pkcs11:x-vendor=1", "x-vendor is not supported"),
        ("pkcs11:type=cert", "not private"),
        ("pkcs11:object=x?module-name=softhsm2", "module-name is not supported"),
        ("pkcs11:object=x?module-path=softhsm2.so", "absolute"),
        ("pkcs11:object=x?pin-source=%7C/usr/bin/pin", "absolute"),
        ("pkcs11:object=x?pin-value=1234", "holds a PIN"),
        ("pkcs11:object=x?pin-value=12 34", "malformed"),
    ],
)
def test_refuses_everything_else_and_repeats_nothing(text: str, reason: str) -> None:
    with pytest.raises(MalformedPKCS11URI, match=reason) as caught:
        parse_pkcs11_uri(text)
    assert "1234" not in str(caught.value)
