"""Name constraints handed down a tree (02 HIER-3); OpenSSL agrees with what they allow."""

from __future__ import annotations

import pytest
from cryptography import x509

from certctl_core.pki import keys
from certctl_core.pki.errors import SubtreeRejected
from certctl_core.pki.subtrees import combine, parse_subtree, subtree_text, within
from certctl_core.pki.x509 import build_ca_request, subject_name

pytestmark = pytest.mark.spec("02/HIER-3")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("example.com", "DNS:example.com"),
        ("DNS:.Example.com", "DNS:.example.com"),
        ("10.0.0.0/8", "IP:10.0.0.0/8"),
        ("ip:2001:db8::/32", "IP:2001:db8::/32"),
        ("a@example.com", "email:a@example.com"),
        ("email:.example.com", "email:.example.com"),
        ("uri:host.example.com", "URI:host.example.com"),
        ("O=Example,C=DE", "DirName:O=Example,C=DE"),
        ("dirname:CN=x", "DirName:CN=x"),
    ],
)
def test_each_form_is_read_and_written_alike(text, written):
    found = parse_subtree(text)
    assert subtree_text(found) == written
    assert parse_subtree(written) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dns:",
        "dns:*.example.com",
        "dns:-a.example",
        "ip:10.0.0.1/8",
        "ip:none",
        "email:a b@example.com",
        "uri:https://example.com",
        "dirname:nothing",
        "x" * 2000,
    ],
)
def test_nonsense_is_refused(text):
    with pytest.raises(SubtreeRejected):
        parse_subtree(text)


@pytest.mark.parametrize(
    ("tree", "upper", "inside"),
    [
        ("example.com", "example.com", True),
        ("a.example.com", "example.com", True),
        (".example.com", "example.com", True),
        (".a.example.com", ".example.com", True),
        ("example.com", ".example.com", False),
        ("badexample.com", "example.com", False),
        ("com", "example.com", False),
        ("10.1.0.0/16", "10.0.0.0/8", True),
        ("10.0.0.0/7", "10.0.0.0/8", False),
        ("2001:db8::/32", "10.0.0.0/8", False),
        ("a@example.com", "email:example.com", True),
        ("a@x.example.com", "email:example.com", False),
        ("a@x.example.com", "email:.example.com", True),
        ("email:example.com", "a@example.com", False),
        ("a@EXAMPLE.com", "a@example.com", True),
        ("uri:x.example.com", "uri:.example.com", True),
        ("uri:x.example.com", "uri:example.com", False),
        ("CN=x,O=Example,C=DE", "O=example,C=DE", True),
        ("O=Other,C=DE", "O=Example,C=DE", False),
        ("C=DE", "O=Example,C=DE", False),
        ("example.com", "uri:example.com", False),
    ],
)
def test_what_lies_inside_what(tree, upper, inside):
    assert within(parse_subtree(tree), parse_subtree(upper)) is inside


def trees(*texts):
    return [parse_subtree(text) for text in texts]


def above(permitted=(), excluded=()):
    return x509.NameConstraints(trees(*permitted) or None, trees(*excluded) or None)


class TestCombine:
    def test_exclusions_of_every_level_stay_in_force(self):
        parent = above(excluded=["x.example.com"])
        root = above(excluded=["10.0.0.0/8"])
        found = combine([parent, root], excluded=trees("y.example.com"))
        assert found is not None
        assert list(map(subtree_text, found.excluded_subtrees or ())) == [
            "DNS:y.example.com",
            "DNS:x.example.com",
            "IP:10.0.0.0/8",
        ]

    def test_types_not_mentioned_come_from_the_nearest_ca(self):
        parent = above(permitted=["a.example.com"])
        root = above(permitted=["example.com", "10.0.0.0/8"])
        found = combine([parent, root])
        assert found is not None
        assert list(map(subtree_text, found.permitted_subtrees or ())) == [
            "DNS:a.example.com",
            "IP:10.0.0.0/8",
        ]

    @pytest.mark.parametrize(
        ("permitted", "reason"),
        [
            ("example.org", "outside"),
            ("example.com", "outside"),
            ("x.a.example.com", "excludes"),
        ],
    )
    def test_wider_than_above_is_refused(self, permitted, reason):
        parent = above(permitted=["a.example.com"], excluded=["x.a.example.com"])
        with pytest.raises(SubtreeRejected, match=reason):
            combine([parent], permitted=trees(permitted))

    def test_nothing_asked_for_and_nothing_above_is_no_extension(self):
        assert combine([]) is None


def test_request_for_a_ca_says_what_it_asks_for(openssl):
    pem = build_ca_request(
        subject_name("Issuing CA 1", (("organizationName", "Example"),)),
        keys.generate(keys.KeyAlgorithm.ED25519),
        path_length=0,
        name_constraints=above(permitted=["example.com"]),
    )
    told = openssl("req", "-in", "csr", "-noout", "-text", "-verify", csr=pem)
    for text in ("CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "DNS:example.com"):
        assert text in told
