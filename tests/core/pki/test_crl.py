"""Revocation lists (02 CRL-1, CRL-5), with OpenSSL and the library as judges."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from hypothesis import given
from hypothesis import strategies as st

from certctl_core.pki import crl, keys
from certctl_core.pki import x509 as pki_x509
from certctl_core.pki.errors import (
    BadCRLSignature,
    EmptyValidity,
    MalformedCRL,
    MalformedSerial,
    NaiveTime,
    PKIError,
)
from certctl_core.pki.keys import KeyAlgorithm
from certctl_core.pki.reasons import CRLReason
from certctl_core.pki.serials import canonical
from tests.core.pki.support import FAST, MUTATIONS, NOW, POST_QUANTUM, make_spec, mutate

LATER = NOW + timedelta(days=1)
NONE = CRLReason.UNSPECIFIED


def make(ca, *entries, number=1, **changes):
    values = {
        "issuer_cert": ca.cert,
        "key": ca.key,
        "entries": entries,
        "number": number,
        "this_update": NOW - timedelta(minutes=1),
        "next_update": LATER,
    }
    return crl.build_crl(**(values | changes))


@pytest.mark.spec("02/CRL-1")
@pytest.mark.parametrize("algorithm", FAST)
def test_openssl_verifies_and_rejects_the_revoked(ca_of, key_of, openssl, algorithm):
    ca = ca_of(algorithm)
    good, bad = (
        pki_x509.build_leaf(make_spec(key_of().public_key()), issuer=ca.cert, key=ca.key)
        for _ in range(2)
    )
    der = make(
        ca,
        crl.encode_entry(canonical(bad.serial_number), NOW, CRLReason.KEY_COMPROMISE, NOW),
        crl.encode_entry("01", NOW),
        number=1 << 60,
    )
    told = openssl("crl", "-inform", "DER", "-CAfile", "ca", "-in", "crl", "-text", "-out", "pem",
                   ca=ca.cert, crl=der, good=good, bad=bad)  # fmt: skip
    assert "verify OK" in told
    text = openssl("crl", "-inform", "DER", "-in", "crl", "-noout", "-text")
    for expected in (
        "Version 2",
        "Key Compromise",
        "Invalidity Date",
        str(1 << 60),
        "Authority Key Identifier",
    ):
        assert expected in text
    assert text.count("CRL entry extensions") == 1
    check = ("verify", "-crl_check", "-CAfile", "ca", "-CRLfile", "pem")
    assert openssl(*check, "good").strip().endswith("good: OK")
    assert "certificate revoked" in openssl(*check, "bad", check=False)


@pytest.mark.parametrize("algorithm", [*FAST, *POST_QUANTUM])
def test_every_algorithm_verifies(ca_of, algorithm):
    ca = ca_of(algorithm)
    der = make(ca, crl.encode_entry("0abc", NOW))
    assert crl.verify_crl(der, ca.cert).number == 1
    assert x509.load_der_x509_crl(der).is_signature_valid(ca.cert.public_key())


MOMENT = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=UTC, microsecond=0)
)
ENTRY = st.tuples(
    st.integers(1, (1 << 159) - 1).map(canonical),
    MOMENT,
    st.sampled_from(CRLReason),
    st.none() | MOMENT,
)


@given(entries=st.lists(ENTRY, max_size=20), number=st.integers(0, (1 << 159) - 1))
def test_bytes_equal_the_library(ca_of, entries, number):
    ca = ca_of(KeyAlgorithm.ED25519)
    der = make(ca, *(crl.encode_entry(*entry) for entry in entries), number=number)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.cert.subject)
        .last_update(NOW - timedelta(minutes=1))
        .next_update(LATER)
        .add_extension(
            x509.AuthorityKeyIdentifier(keys.ski(ca.cert.public_key()), None, None), critical=False
        )
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for serial, revoked_at, reason, invalidity_date in entries:
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(int(serial, 16))
            .revocation_date(revoked_at)
        )
        if reason is not NONE:
            entry = entry.add_extension(x509.CRLReason(reason.flag), critical=False)
        if invalidity_date is not None:
            entry = entry.add_extension(x509.InvalidityDate(invalidity_date), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    reference = builder.sign(ca.key, None)
    assert der == reference.public_bytes(serialization.Encoding.DER)
    back = [(e.serial, e.revoked_at, e.reason, e.invalidity_date) for e in crl.iter_entries(der)]
    assert back == entries
    assert crl.count_entries(der) == len(entries)


def test_frame_is_read(ca_of):
    ca = ca_of()
    info = crl.inspect_crl(make(ca, crl.encode_entry("01", NOW), number=77))
    assert info.issuer_dn == "CN=Example ECDSA-P256 Root"
    assert info.issuer_der == ca.cert.subject.public_bytes()
    assert (info.this_update, info.next_update) == (NOW - timedelta(minutes=1), LATER)
    assert info.number == 77
    assert info.aki == keys.ca_key_id(ca.cert.public_key())
    assert info.base_number is None


def test_empty_list_has_no_revoked_certificates(ca_of, openssl):
    der = make(ca_of())
    assert "No Revoked Certificates" in openssl(
        "crl", "-inform", "DER", "-in", "crl", "-noout", "-text", crl=der
    )
    assert list(crl.iter_entries(der)) == []


def test_delta_and_distribution_point(ca_of, openssl):
    ca = ca_of()
    url = "http://pki.example.com/crl/1"
    der = make(
        ca,
        crl.encode_entry("01", NOW),
        extra=(crl.delta_indicator(5), crl.issuing_distribution_point((url,), only_user=True)),
    )
    assert crl.verify_crl(der, ca.cert).base_number == 5
    text = openssl("crl", "-inform", "DER", "-in", "crl", "-noout", "-text", crl=der)
    assert f"URI:{url}" in text
    assert "Only User Certificates" in text
    assert "Delta CRL Indicator: critical" in text
    library = x509.load_der_x509_crl(der).extensions
    point = library.get_extension_for_class(x509.IssuingDistributionPoint).value
    assert point.only_contains_user_certs
    assert not point.only_contains_ca_certs
    other = make(ca, extra=(crl.issuing_distribution_point((), only_ca=True),))
    library = x509.load_der_x509_crl(other).extensions
    point = library.get_extension_for_class(x509.IssuingDistributionPoint).value
    assert point.only_contains_ca_certs


@pytest.mark.parametrize("bad", ["", "xyz", "-1", "0x"])
def test_malformed_serial_is_an_error_and_not_zero(bad):
    with pytest.raises(MalformedSerial):
        crl.encode_entry(bad, NOW)


def test_naive_times_are_refused(ca_of):
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(NaiveTime):
        crl.encode_entry("01", naive)
    with pytest.raises(NaiveTime):
        crl.encode_entry("01", NOW, NONE, naive)
    with pytest.raises(NaiveTime):
        make(ca_of(), next_update=naive)


def test_other_zones_are_converted():
    zone = timezone(timedelta(hours=-7))
    assert crl.encode_entry("01", NOW.astimezone(zone)) == crl.encode_entry("01", NOW)


def test_next_update_must_be_later(ca_of):
    with pytest.raises(EmptyValidity):
        make(ca_of(), next_update=NOW - timedelta(minutes=1))


class TestVerification:
    """02 CRL-5: what a stored list must pass before it is served."""

    @pytest.mark.spec("02/CRL-5")
    def test_defects(self, ca_of):
        ca = ca_of()
        other = ca_of(KeyAlgorithm.ECDSA_P384)
        der = make(ca, crl.encode_entry("0abc", NOW))
        with pytest.raises(BadCRLSignature, match="issuer name"):
            crl.verify_crl(der, other.cert)
        flipped = der[:-1] + bytes((der[-1] ^ 1,))
        with pytest.raises(BadCRLSignature, match="signature"):
            crl.verify_crl(flipped, ca.cert)
        hidden = der.replace(b"\x02\x02\x0a\xbc", b"\x02\x02\x0a\xbd")
        with pytest.raises(BadCRLSignature, match="signature"):
            crl.verify_crl(hidden, ca.cert)

    def test_same_name_other_key(self, ca_of):
        ca = ca_of()
        key = keys.generate(KeyAlgorithm.ECDSA_P256)
        twin = pki_x509.build_root(
            "Example ECDSA-P256 Root", key, serial=1, not_before=NOW, not_after=LATER
        )
        with pytest.raises(BadCRLSignature, match="authority key"):
            crl.verify_crl(make(ca), twin)

    def test_foreign_hash_is_verified_by_the_library(self, ca_of):
        ca = ca_of(KeyAlgorithm.RSA_2048)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(ca.cert.subject)
            .last_update(NOW)
            .next_update(LATER)
            .add_extension(
                x509.AuthorityKeyIdentifier(keys.ski(ca.cert.public_key()), None, None),
                critical=False,
            )
            .add_extension(x509.CRLNumber(3), critical=False)
        )
        der = builder.sign(ca.key, hashes.SHA512()).public_bytes(serialization.Encoding.DER)
        assert crl.verify_crl(der, ca.cert).number == 3
        with pytest.raises(BadCRLSignature):
            crl.verify_crl(der[:-1] + bytes((der[-1] ^ 1,)), ca.cert)

    def test_unknown_reasons_of_others_are_unspecified(self, ca_of):
        ca = ca_of()
        entry = crl.encode_entry("01", NOW, CRLReason.KEY_COMPROMISE)
        der = make(ca, entry.replace(b"\x0a\x01\x01", b"\x0a\x01\x08"))
        assert [e.reason for e in crl.iter_entries(der)] == [NONE]


class TestMalformed:
    @pytest.mark.parametrize(
        "damage",
        [
            lambda _: b"",
            lambda der: der[:-1],
            lambda der: der + b"\x00",
            lambda der: der[:1],
            lambda der: b"\x31" + der[1:],
            lambda der: der.replace(b"\x55\x1d\x14", b"\x55\x1d\x7f"),
            lambda der: der.replace(b"\x55\x1d\x23", b"\x55\x1d\x7f"),
            lambda der: der.replace(b"\x02\x01\x01\x30", b"\x02\x01\x00\x30", 1),
            lambda _: b"-----BEGIN X509 CRL-----",
        ],
        ids=["empty", "short", "trailing", "one_byte", "set", "no_number", "no_aki", "v1", "pem"],
    )
    def test_is_refused(self, ca_of, damage):
        with pytest.raises(MalformedCRL):
            crl.inspect_crl(damage(make(ca_of(), crl.encode_entry("01", NOW))))

    def test_unknown_critical_extension(self, ca_of):
        extension = bytes.fromhex("300c0603 2a0304 0101ff 04020500".replace(" ", ""))
        with pytest.raises(MalformedCRL):
            crl.inspect_crl(make(ca_of(), extra=(extension,)))
        crl.inspect_crl(make(ca_of(), extra=(bytes.fromhex("30090603 2a0304 04020500"),)))

    def test_duplicate_extension(self, ca_of):
        with pytest.raises(MalformedCRL):
            crl.inspect_crl(make(ca_of(), extra=(crl.delta_indicator(1),) * 2))

    def test_broken_entry(self, ca_of):
        der = make(ca_of(), b"\x30\x03\x02\x01\x01")
        crl.inspect_crl(der)
        with pytest.raises(MalformedCRL):
            list(crl.iter_entries(der))

    @given(st.binary(max_size=200))
    def test_garbage(self, data):
        with pytest.raises(MalformedCRL):
            crl.inspect_crl(data)

    @given(MUTATIONS)
    def test_mutations_never_escape_the_error_tree(self, ca_of, mutations):
        ca = ca_of()
        entry = crl.encode_entry("0abc", NOW, CRLReason.SUPERSEDED, NOW)
        der = mutate(make(ca, entry, extra=(crl.delta_indicator(3),)), mutations)
        with contextlib.suppress(PKIError):
            crl.verify_crl(der, ca.cert)
        with contextlib.suppress(PKIError):
            list(crl.iter_entries(der))
        with contextlib.suppress(PKIError):
            crl.count_entries(der)


class TestFindEntry:
    def test_the_entry_and_only_that_one(self, ca_of):
        ca = ca_of()
        # The second serial number holds the bytes of a short entry for 0x55 and of 0x55 itself.
        serials = ["0abc", "0130030201550201", "7f" * 19, "ff"]
        entries = [crl.encode_entry(serial, NOW, CRLReason.SUPERSEDED, NOW) for serial in serials]
        der = make(ca, *entries)

        found = [crl.find_entry(der, serial) for serial in serials]

        assert found == list(crl.iter_entries(der))
        for other in ("55", "0155", "bc", "01"):
            assert crl.find_entry(der, other) is None
        assert crl.find_entry(make(ca), "0abc") is None

    def test_a_removal_is_told_apart(self, ca_of):
        ca = ca_of()
        extra = (crl.delta_indicator(3),)
        entries = (crl.encode_removal("0abc", NOW), crl.encode_entry("0abd", NOW))
        der = make(ca, *entries, extra=extra)

        removed, revoked = crl.find_entry(der, "0abc"), crl.find_entry(der, "0abd")

        assert removed is not None
        assert revoked is not None
        assert (removed.is_removal, removed.reason) == (True, NONE)
        assert (revoked.is_removal, revoked.reason) == (False, NONE)

    def test_broken_lists_are_refused(self, ca_of):
        der = make(ca_of(), b"\x30\x03\x02\x01\x01")
        with pytest.raises(MalformedCRL):
            crl.find_entry(der, "01")
        assert crl.find_entry(der, "02") is None
        with pytest.raises(MalformedSerial):
            crl.find_entry(der, "no serial")

    def test_a_list_says_whether_it_has_a_delta(self, ca_of):
        ca = ca_of()
        url = ("http://pki.example.com/delta",)
        assert crl.inspect_crl(make(ca, extra=(crl.freshest_crl(url),))).names_delta
        assert not crl.inspect_crl(make(ca)).names_delta
