"""OCSP messages (02 OCSP-3 to OCSP-10), with OpenSSL and the library as judges."""

from __future__ import annotations

import contextlib
import secrets
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp as library
from hypothesis import given
from hypothesis import strategies as st

from certctl_core.pki import keys, ocsp, serials
from certctl_core.pki import x509 as pki_x509
from certctl_core.pki.errors import MalformedOCSPRequest, MissingRevocationTime, NaiveTime, PKIError
from certctl_core.pki.keys import KeyAlgorithm
from certctl_core.pki.ocsp import CertIDHash, CertStatus, ResponseStatus, SingleResponse
from certctl_core.pki.reasons import CRLReason
from certctl_core.pki.serials import canonical
from tests.core.pki.support import CA, FAST, MUTATIONS, NOW, POST_QUANTUM, make_spec, mutate

DER = serialization.Encoding.DER
LATER = NOW + timedelta(days=1)
"""OpenSSL looks at the real clock, and NOW was when the tests were collected."""
HASHES = {
    CertIDHash.SHA1: hashes.SHA1(),  # noqa: S303 - what OCSP clients send
    CertIDHash.SHA256: hashes.SHA256(),
    CertIDHash.SHA384: hashes.SHA384(),
    CertIDHash.SHA512: hashes.SHA512(),
}


@pytest.fixture(scope="module")
def responder_of(ca_of, key_of):
    def make(algorithm=KeyAlgorithm.ECDSA_P256, ca=None) -> CA:
        ca = ca or ca_of()
        key = key_of(algorithm)
        cert = pki_x509.build_responder(
            public_key=key.public_key(),
            issuer=ca.cert,
            key=ca.key,
            serial=serials.new_serial(),
            not_before=NOW - timedelta(minutes=5),
            not_after=NOW + timedelta(days=30),
        )
        return CA(key=key, cert=cert)

    return make


def issue(ca, key, **changes):
    return pki_x509.build_leaf(make_spec(key.public_key(), **changes), issuer=ca.cert, key=ca.key)


def answer(cert_id, status=CertStatus.GOOD, **changes):
    values = {"this_update": NOW, "next_update": LATER} | changes
    if status is CertStatus.REVOKED:
        values = {"revoked_at": NOW - timedelta(hours=1)} | values
    return SingleResponse(cert_id=cert_id, status=status, **values)


def respond(responder, *responses, nonce=None, produced_at=NOW):
    return ocsp.build_response(
        responses=responses,
        responder_cert=responder.cert,
        responder_key=responder.key,
        produced_at=produced_at,
        nonce=nonce,
    )


class TestRequests:
    @pytest.mark.parametrize("algorithm", list(CertIDHash))
    def test_openssl_request_is_read(self, ca_of, key_of, openssl, tmp_path, algorithm):
        ca = ca_of()
        certs = [issue(ca, key_of()), issue(ca, key_of(), serial=0x0ABC)]
        openssl(
            "ocsp", f"-{algorithm}", "-issuer", "ca", "-cert", "one", f"-{algorithm}",
            "-cert", "two", "-reqout", "req", "-no_nonce",
            ca=ca.cert, one=certs[0], two=certs[1],
        )  # fmt: skip
        request = ocsp.parse_request((tmp_path / "req").read_bytes())
        assert [i.serial for i in request.cert_ids] == [canonical(c.serial_number) for c in certs]
        assert request.nonce is None
        for found, cert in zip(request.cert_ids, certs, strict=True):
            assert found == ocsp.cert_id(algorithm, ca.cert, canonical(cert.serial_number))
            assert found.hash_algorithm is algorithm
            assert ocsp.is_issued_by(found, ca.cert)
            assert not ocsp.is_issued_by(found, ca_of(KeyAlgorithm.ED25519).cert)

    def test_openssl_signed_request_with_nonce_is_read(self, ca_of, key_of, openssl, tmp_path):
        ca = ca_of()
        (tmp_path / "key").write_bytes(keys.private_key_pem(ca.key))
        openssl(
            "ocsp", "-issuer", "ca", "-cert", "leaf", "-reqout", "req", "-nonce",
            "-signer", "ca", "-signkey", "key", ca=ca.cert, leaf=issue(ca, key_of()),
        )  # fmt: skip
        request = ocsp.parse_request((tmp_path / "req").read_bytes())
        assert len(request.cert_ids) == 1
        assert len(request.nonce or b"") == 16

    @given(
        serial_numbers=st.lists(st.integers(0, (1 << 160) - 1), min_size=1, max_size=16),
        nonce=st.none() | st.binary(min_size=1, max_size=128),
        algorithm=st.sampled_from(CertIDHash),
    )
    def test_round_trip(self, ca_of, serial_numbers, nonce, algorithm):
        ids = tuple(
            ocsp.cert_id(algorithm, ca_of().cert, canonical(serial)) for serial in serial_numbers
        )
        request = ocsp.parse_request(ocsp.build_request(ids, nonce=nonce))
        assert request == ocsp.OCSPRequest(cert_ids=ids, nonce=nonce)

    @pytest.mark.parametrize("algorithm", list(CertIDHash))
    def test_equals_the_library(self, ca_of, key_of, algorithm):
        ca = ca_of()
        leaf = issue(ca, key_of())
        nonce = secrets.token_bytes(32)
        builder = library.OCSPRequestBuilder().add_certificate(leaf, ca.cert, HASHES[algorithm])
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        der = builder.build().public_bytes(DER)
        wanted = ocsp.cert_id(algorithm, ca.cert, canonical(leaf.serial_number))
        assert ocsp.parse_request(der).cert_ids[0].serial == wanted.serial
        assert ocsp.parse_request(der).nonce == nonce
        assert ocsp.build_request([wanted], nonce=nonce) == der

    def test_requestor_name_and_version_are_passed_over(self, ca_of):
        der = one_request(ca_of(), front=b"\xa0\x03\x02\x01\x00\xa1\x06\x82\x04test")
        assert len(ocsp.parse_request(der).cert_ids) == 1

    @pytest.mark.spec("02/OCSP-6")
    def test_unknown_hash_is_kept_and_matches_nobody(self, ca_of):
        ca = ca_of()
        good = ocsp.cert_id(CertIDHash.SHA256, ca.cert, "01")
        der = ocsp.build_request([good])
        sha256, md5 = (
            bytes.fromhex("0609608648016503040201"),
            bytes.fromhex("0609608648016503040208"),
        )
        request = ocsp.parse_request(der.replace(sha256, md5))
        assert request.cert_ids[0].hash_algorithm is None
        assert not ocsp.is_issued_by(request.cert_ids[0], ca.cert)

    def test_hash_without_parameters_is_known(self, ca_of):
        ca = ca_of()
        der = one_request(ca, with_null=False)
        request = ocsp.parse_request(der)
        assert request.cert_ids[0].hash_algorithm is CertIDHash.SHA256
        assert ocsp.is_issued_by(request.cert_ids[0], ca.cert)


def tlv(tag, *parts):
    content = b"".join(parts)
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    if size < 256:
        return bytes((tag, 0x81, size)) + content
    return bytes((tag, 0x82, size >> 8, size & 255)) + content


def extensions(*items):
    return tlv(0x30, *items)


def extension(oid: str, value: bytes, *, critical=False):
    encoded = x509.ObjectIdentifier(oid)
    raw = x509.ExtendedKeyUsage([encoded]).public_bytes()[2:]
    return tlv(0x30, raw, b"\x01\x01\xff" if critical else b"", tlv(4, value))


NONCE_OID = "1.3.6.1.5.5.7.48.1.2"


def nonce_extension(size):
    return extension(NONCE_OID, tlv(4, b"n" * size))


def one_request(ca, *, front=b"", back=b"", serial=b"\x01", single=b"", count=1, with_null=True):
    """A request assembled by hand, so that any part can be wrong."""
    name_hash, key_hash = ocsp.issuer_hashes(CertIDHash.SHA256, ca.cert)
    algorithm = tlv(
        0x30, bytes.fromhex("0609608648016503040201"), b"\x05\x00" if with_null else b""
    )
    cert_id = tlv(0x30, algorithm, tlv(4, name_hash), tlv(4, key_hash), tlv(2, serial))
    listed = tlv(0x30, *[tlv(0x30, cert_id, single)] * count)
    return tlv(0x30, tlv(0x30, front, listed, back))


@pytest.mark.spec("02/OCSP-3")
class TestMalformedRequests:
    @pytest.mark.spec("02/OCSP-4")
    def test_sixteen_certificates_are_the_limit(self, ca_of):
        assert len(ocsp.parse_request(one_request(ca_of(), count=16)).cert_ids) == 16
        with pytest.raises(MalformedOCSPRequest, match="16"):
            ocsp.parse_request(one_request(ca_of(), count=17))
        with pytest.raises(MalformedOCSPRequest, match="no certificate"):
            ocsp.parse_request(one_request(ca_of(), count=0))

    @pytest.mark.spec("02/OCSP-10")
    @pytest.mark.parametrize("size", [1, 16, 32, 33, 128])
    def test_nonces_from_1_to_128(self, ca_of, size):
        der = one_request(ca_of(), back=tlv(0xA2, extensions(nonce_extension(size))))
        assert ocsp.parse_request(der).nonce == b"n" * size

    @pytest.mark.spec("02/OCSP-10")
    @pytest.mark.parametrize("size", [0, 129, 1000])
    def test_other_nonces(self, ca_of, size):
        der = one_request(ca_of(), back=tlv(0xA2, extensions(nonce_extension(size))))
        with pytest.raises(MalformedOCSPRequest, match="nonce"):
            ocsp.parse_request(der)

    def test_oversize(self, ca_of):
        with pytest.raises(MalformedOCSPRequest, match="large"):
            ocsp.parse_request(b"\x30" + b"A" * 10240)

    @pytest.mark.parametrize(
        "parts",
        [
            {"back": tlv(0xA2, extensions(nonce_extension(16), nonce_extension(16)))},
            {"back": tlv(0xA2, extensions(extension("1.2.3", b"\x05\x00", critical=True)))},
            {"single": tlv(0xA0, extensions(extension("1.2.3", b"\x05\x00", critical=True)))},
            {"back": tlv(0xA2, extensions(extension(NONCE_OID, b"raw nonce")))},
            {"back": tlv(0xA2, extensions(), b"\x05\x00")},
            {"back": tlv(0xA3, extensions())},
            {"back": b"\x05\x00"},
            {"front": b"\xa0\x03\x02\x01\x01"},
            {"front": b"\xa3\x00"},
            {"serial": b""},
            {"serial": b"\x80"},
            {"serial": b"\x00\x01"},
            {"serial": b"\x01" * 65},
        ],
        ids=[
            "two_nonces",
            "unknown_critical",
            "unknown_critical_in_single",
            "nonce_without_wrapper",
            "bytes_behind_extensions",
            "wrong_tag_behind_list",
            "null_behind_list",
            "version_2",
            "wrong_tag_in_front",
            "empty_serial",
            "negative_serial",
            "padded_serial",
            "giant_serial",
        ],
    )
    def test_one_defect(self, ca_of, parts):
        ocsp.parse_request(one_request(ca_of()))
        with pytest.raises(MalformedOCSPRequest):
            ocsp.parse_request(one_request(ca_of(), **parts))

    def test_accepted_extensions(self, ca_of):
        acceptable = extension("1.3.6.1.5.5.7.48.1.4", tlv(0x30), critical=True)
        unknown = extension("1.2.3", b"\x05\x00")
        der = one_request(
            ca_of(),
            back=tlv(0xA2, extensions(acceptable, unknown)),
            single=tlv(0xA0, extensions(unknown)),
        )
        assert ocsp.parse_request(der).nonce is None

    @pytest.mark.parametrize(
        "damage",
        [
            lambda _: b"",
            lambda der: der[:-1],
            lambda der: der + b"\x00",
            lambda der: b"\x31" + der[1:],
            lambda der: b"\x30\x80" + der[2:] + b"\x00\x00",
            lambda der: b"\x30\x81" + der[1:],
            lambda der: b"\x1f" + der,
            lambda der: der[:1] + bytes((der[1] + 2,)) + der[2:] + b"\x05\x00",
        ],
        ids=["empty", "short", "trailing", "set", "indefinite", "long_length", "long_tag",
             "no_signature"],
    )  # fmt: skip
    def test_broken_frame(self, ca_of, damage):
        der = one_request(ca_of())
        assert len(der) < 128, "the damages below assume one length byte"
        with pytest.raises(MalformedOCSPRequest):
            ocsp.parse_request(damage(der))

    @given(st.binary(max_size=200))
    def test_garbage(self, data):
        with pytest.raises(MalformedOCSPRequest):
            ocsp.parse_request(data)

    @given(MUTATIONS)
    def test_mutations_never_escape_the_error_tree(self, ca_of, mutations):
        der = one_request(ca_of(), count=2, back=tlv(0xA2, extensions(nonce_extension(16))))
        changed = mutate(der, mutations)
        with contextlib.suppress(PKIError):
            request = ocsp.parse_request(changed)
            for found in request.cert_ids:
                assert found.der in changed
                ocsp.is_issued_by(found, ca_of().cert)


class TestResponses:
    @pytest.mark.spec("02/OCSP-9")
    @pytest.mark.parametrize("algorithm", FAST)
    def test_openssl_accepts_all_statuses(self, ca_of, key_of, responder_of, openssl, algorithm):
        ca, responder = ca_of(), responder_of(algorithm)
        certs = [issue(ca, key_of()) for _ in range(3)]
        openssl(
            "ocsp", "-issuer", "ca", "-cert", "a", "-sha256", "-cert", "b", "-cert", "c",
            "-reqout", "req", ca=ca.cert, a=certs[0], b=certs[1], c=certs[2],
        )  # fmt: skip
        request = ocsp.parse_request((openssl.folder / "req").read_bytes())
        statuses = [CertStatus.GOOD, CertStatus.REVOKED, CertStatus.UNKNOWN]
        response = respond(
            responder,
            *(
                answer(i, s, reason=CRLReason.KEY_COMPROMISE)
                for i, s in zip(request.cert_ids, statuses, strict=True)
            ),
            nonce=request.nonce,
        )
        told = openssl("ocsp", "-reqin", "req", "-respin", "resp", "-CAfile", "ca", resp=response)
        assert told.strip() == "Response verify OK"
        told = openssl(
            "ocsp", "-respin", "resp", "-CAfile", "ca", "-issuer", "ca", "-no_nonce",
            "-cert", "a", "-sha256", "-cert", "b", "-cert", "c",
        )  # fmt: skip
        assert "Response verify OK" in told
        assert "WARNING" not in told
        for line in ("a: good", "b: revoked", "c: unknown", "Reason: keyCompromise"):
            assert line in told

    def test_wrong_nonce_is_noticed_by_openssl(
        self, ca_of, key_of, responder_of, openssl, tmp_path
    ):
        ca = ca_of()
        openssl("ocsp", "-issuer", "ca", "-cert", "a", "-reqout", "req", ca=ca.cert,
                a=issue(ca, key_of()))  # fmt: skip
        request = ocsp.parse_request((tmp_path / "req").read_bytes())
        response = respond(responder_of(), answer(request.cert_ids[0]), nonce=b"x" * 16)
        told = openssl("ocsp", "-reqin", "req", "-respin", "resp", "-CAfile", "ca",
                       check=False, resp=response)  # fmt: skip
        assert "Nonce Verify error" in told

    @pytest.mark.parametrize("algorithm", [*FAST, *POST_QUANTUM])
    @pytest.mark.parametrize("status", list(CertStatus))
    def test_bytes_equal_the_library(self, ca_of, key_of, responder_of, algorithm, status):
        ca, responder = ca_of(), responder_of(algorithm)
        leaf = issue(ca, key_of())
        nonce = secrets.token_bytes(32)
        wanted = ocsp.cert_id(CertIDHash.SHA256, ca.cert, canonical(leaf.serial_number))
        single = answer(wanted, status, reason=CRLReason.SUPERSEDED)
        der = respond(responder, single, nonce=nonce)
        revoked = status is CertStatus.REVOKED
        builder = (
            library.OCSPResponseBuilder()
            .add_response(
                cert=leaf,
                issuer=ca.cert,
                algorithm=hashes.SHA256(),
                cert_status=library.OCSPCertStatus[status.name],
                this_update=single.this_update,
                next_update=single.next_update,
                revocation_time=single.revoked_at,
                revocation_reason=x509.ReasonFlags.superseded if revoked else None,
            )
            .responder_id(library.OCSPResponderEncoding.HASH, responder.cert)
            .certificates([responder.cert])
            .add_extension(x509.OCSPNonce(nonce), critical=False)
        )
        reference = builder.sign(responder.key, keys.signature_hash(responder.key.public_key()))
        ours = library.load_der_ocsp_response(der)
        ours_tbs, their_tbs = ours.tbs_response_bytes, reference.tbs_response_bytes
        # producedAt is the library's own clock: cut it out of both.
        produced = ours.produced_at_utc.strftime("%Y%m%d%H%M%SZ").encode()
        theirs = reference.produced_at_utc.strftime("%Y%m%d%H%M%SZ").encode()
        assert ours_tbs.replace(produced, b"", 1) == their_tbs.replace(theirs, b"", 1)
        assert ours.signature_algorithm_oid == reference.signature_algorithm_oid
        assert ours.certificates == [responder.cert]
        if algorithm is KeyAlgorithm.ED25519:
            responder.key.public_key().verify(ours.signature, ours_tbs)

    def test_fields(self, ca_of, responder_of):
        responder = responder_of()
        wanted = ocsp.cert_id(CertIDHash.SHA1, ca_of().cert, "0abc")
        read = library.load_der_ocsp_response(respond(responder, answer(wanted), nonce=None))
        assert read.responder_key_hash == keys.ski(responder.key.public_key())
        assert read.produced_at_utc == NOW
        assert (read.this_update_utc, read.next_update_utc) == (NOW, LATER)
        assert read.serial_number == 0x0ABC
        assert list(read.extensions) == []
        assert list(read.single_extensions) == []

    @pytest.mark.spec("02/OCSP-10")
    def test_nonce_is_in_the_response_extensions(self, ca_of, responder_of):
        wanted = ocsp.cert_id(CertIDHash.SHA1, ca_of().cert, "01")
        read = library.load_der_ocsp_response(
            respond(responder_of(), answer(wanted), nonce=b"n" * 32)
        )
        extension = read.extensions.get_extension_for_class(x509.OCSPNonce)
        assert (extension.value.nonce, extension.critical) == (b"n" * 32, False)
        assert list(read.single_extensions) == []

    @pytest.mark.spec("02/OCSP-7")
    def test_unspecified_reason_is_left_out(self, ca_of, responder_of):
        wanted = ocsp.cert_id(CertIDHash.SHA1, ca_of().cert, "01")
        for reason in CRLReason:
            single = answer(wanted, CertStatus.REVOKED, reason=reason)
            read = library.load_der_ocsp_response(respond(responder_of(), single))
            expected = None if reason is CRLReason.UNSPECIFIED else reason.flag
            assert read.revocation_reason == expected

    def test_no_next_update(self, ca_of, responder_of):
        wanted = ocsp.cert_id(CertIDHash.SHA1, ca_of().cert, "01")
        read = library.load_der_ocsp_response(
            respond(responder_of(), answer(wanted, next_update=None))
        )
        assert read.next_update_utc is None

    @given(
        asked=st.lists(
            st.tuples(st.integers(0, (1 << 160) - 1), st.sampled_from(CertStatus)),
            min_size=1,
            max_size=16,
        )
    )
    def test_library_reads_all_answers_in_order(self, ca_of, responder_of, asked):
        singles = [
            answer(ocsp.cert_id(CertIDHash.SHA1, ca_of().cert, canonical(n)), status)
            for n, status in asked
        ]
        read = library.load_der_ocsp_response(respond(responder_of(), *singles))
        found = [(r.serial_number, r.certificate_status.name) for r in read.responses]
        assert found == [(n, status.name) for n, status in asked]

    def test_the_cert_id_is_repeated_byte_for_byte(self, ca_of, responder_of):
        der = one_request(ca_of(), with_null=False)
        wanted = ocsp.parse_request(der).cert_ids[0]
        assert wanted.der in respond(responder_of(), answer(wanted))

    def test_missing_and_naive_times(self, ca_of, responder_of):
        wanted = ocsp.cert_id(CertIDHash.SHA1, ca_of().cert, "01")
        responder = responder_of()
        naive = NOW.replace(tzinfo=None)
        with pytest.raises(MissingRevocationTime):
            respond(responder, answer(wanted, CertStatus.REVOKED, revoked_at=None))
        with pytest.raises(NaiveTime):
            respond(responder, answer(wanted, this_update=naive))
        with pytest.raises(NaiveTime):
            respond(responder, answer(wanted), produced_at=naive)


@pytest.mark.parametrize("status", list(ResponseStatus))
def test_error_responses(status):
    der = ocsp.error_response(status)
    read = library.load_der_ocsp_response(der)
    assert read.response_status.value == status.value


@pytest.mark.spec("02/OCSP-12")
def test_try_later_bytes():
    assert ocsp.error_response(ResponseStatus.TRY_LATER) == bytes.fromhex("30030a0103")
