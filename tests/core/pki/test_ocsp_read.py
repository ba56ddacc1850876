"""Reading OCSP responses of ours and of others."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp as library
from hypothesis import given
from hypothesis import strategies as st

from certctl_core.pki import keys, ocsp, serials
from certctl_core.pki import x509 as pki_x509
from certctl_core.pki.errors import BadOCSPSignature, MalformedOCSPResponse, PKIError
from certctl_core.pki.keys import KeyAlgorithm
from certctl_core.pki.ocsp import CertIDHash, CertStatus, ResponseStatus, SingleResponse
from certctl_core.pki.reasons import CRLReason
from tests.core.pki.support import CA, FAST, MUTATIONS, NOW, POST_QUANTUM, make_spec, mutate

HOUR = timedelta(hours=1)


def responder_for(ca, key, *, days=30):
    cert = pki_x509.build_responder(
        public_key=key.public_key(), issuer=ca.cert, key=ca.key, serial=serials.new_serial(),
        not_before=NOW - HOUR, not_after=NOW + timedelta(days=days),
    )  # fmt: skip
    return CA(key=key, cert=cert)


def respond(ca, signer, *statuses, nonce=None):
    return ocsp.build_response(
        responses=[
            SingleResponse(
                cert_id=ocsp.cert_id(CertIDHash.SHA256, ca.cert, f"{number:02x}"),
                status=status,
                this_update=NOW,
                next_update=NOW + HOUR,
                revoked_at=NOW - HOUR if status is CertStatus.REVOKED else None,
                reason=CRLReason.KEY_COMPROMISE,
            )
            for number, status in enumerate(statuses, start=1)
        ],
        responder_cert=signer.cert,
        responder_key=signer.key,
        produced_at=NOW,
        nonce=nonce,
    )


@pytest.mark.parametrize("algorithm", [*FAST, *POST_QUANTUM])
def test_what_we_build_is_read_and_verified(ca_of, key_of, algorithm):
    ca = ca_of(algorithm)
    responder = responder_for(ca, key_of(algorithm))
    der = respond(ca, responder, *CertStatus, nonce=b"n" * 32)
    info = ocsp.verify_response(der, issuer_cert=ca.cert, at=NOW)
    assert info == ocsp.inspect_response(der)
    assert info.error is None
    assert info.produced_at == NOW
    assert info.responder_key_id == keys.ca_key_id(responder.key.public_key())
    assert info.nonce == b"n" * 32
    assert [(a.serial, a.status) for a in info.answers] == [
        ("01", CertStatus.GOOD), ("02", CertStatus.REVOKED), ("03", CertStatus.UNKNOWN),
    ]  # fmt: skip
    revoked = info.answers[1]
    assert (revoked.revoked_at, revoked.reason) == (NOW - HOUR, "keyCompromise")
    assert (revoked.this_update, revoked.next_update) == (NOW, NOW + HOUR)


def test_the_ca_may_answer_itself(ca_of):
    ca = ca_of()
    ocsp.verify_response(respond(ca, ca, CertStatus.GOOD), issuer_cert=ca.cert, at=NOW)


@pytest.mark.parametrize("status", list(ResponseStatus))
def test_error_responses_are_read_and_never_verified(ca_of, status):
    der = ocsp.error_response(status)
    assert ocsp.inspect_response(der).error is status
    with pytest.raises(BadOCSPSignature):
        ocsp.verify_response(der, issuer_cert=ca_of().cert, at=NOW)


def test_responders_of_others_by_name_with_another_hash(ca_of, key_of):
    for algorithm in (KeyAlgorithm.RSA_2048, KeyAlgorithm.ECDSA_P256):
        ca = ca_of(algorithm)
        leaf = pki_x509.build_leaf(make_spec(key_of().public_key()), issuer=ca.cert, key=ca.key)
        builder = library.OCSPResponseBuilder().add_response(
            cert=leaf, issuer=ca.cert, algorithm=hashes.SHA256(),
            cert_status=library.OCSPCertStatus.GOOD, this_update=NOW, next_update=None,
            revocation_time=None, revocation_reason=None,
        )  # fmt: skip
        builder = builder.responder_id(library.OCSPResponderEncoding.NAME, ca.cert)
        signed = builder.sign(ca.key, hashes.SHA512())
        der = signed.public_bytes(serialization.Encoding.DER)
        info = ocsp.verify_response(der, issuer_cert=ca.cert, at=NOW)
        assert info.responder_dn == ca.cert.subject.rfc4514_string()
        assert info.responder_key_id is None
        assert info.answers[0].next_update is None
        changed = der.replace(signed.signature, bytes(len(signed.signature)))
        with pytest.raises(BadOCSPSignature):
            ocsp.verify_response(changed, issuer_cert=ca.cert, at=NOW)


class TestRefusals:
    def test_another_ca(self, ca_of, key_of):
        ca = ca_of()
        der = respond(ca, responder_for(ca, key_of()), CertStatus.GOOD)
        with pytest.raises(BadOCSPSignature, match="entitled"):
            ocsp.verify_response(der, issuer_cert=ca_of(KeyAlgorithm.ED25519).cert, at=NOW)

    def test_expired_responder(self, ca_of, key_of):
        ca = ca_of()
        der = respond(ca, responder_for(ca, key_of(), days=1), CertStatus.GOOD)
        with pytest.raises(BadOCSPSignature, match="entitled"):
            ocsp.verify_response(der, issuer_cert=ca.cert, at=NOW + timedelta(days=2))

    @pytest.mark.parametrize("ekus", [("serverAuth",), ("anyExtendedKeyUsage",)])
    def test_leaf_without_ocsp_signing(self, ca_of, key_of, ekus):
        ca = ca_of()
        key = key_of()
        leaf = pki_x509.build_leaf(
            make_spec(key.public_key(), ekus=ekus), issuer=ca.cert, key=ca.key
        )
        der = respond(ca, CA(key=key, cert=leaf), CertStatus.GOOD)
        with pytest.raises(BadOCSPSignature, match="entitled"):
            ocsp.verify_response(der, issuer_cert=ca.cert, at=NOW)

    def test_wrong_key(self, ca_of, key_of):
        ca = ca_of()
        responder = responder_for(ca, key_of())
        other = CA(key=keys.generate(KeyAlgorithm.ECDSA_P256), cert=responder.cert)
        der = respond(ca, other, CertStatus.GOOD)
        with pytest.raises(BadOCSPSignature, match="signature"):
            ocsp.verify_response(der, issuer_cert=ca.cert, at=NOW)

    @given(st.binary(max_size=200))
    def test_garbage(self, data):
        with pytest.raises(MalformedOCSPResponse):
            ocsp.inspect_response(data)

    def test_giant(self):
        with pytest.raises(MalformedOCSPResponse):
            ocsp.inspect_response(b"\x30" * 300_000)

    @given(MUTATIONS)
    def test_mutations_never_escape_the_error_tree(self, ca_of, key_of, mutations):
        ca = ca_of()
        der = respond(ca, responder_for(ca, key_of()), CertStatus.REVOKED, nonce=b"n" * 8)
        with contextlib.suppress(PKIError):
            ocsp.verify_response(mutate(der, mutations), issuer_cert=ca.cert, at=NOW)


def test_nonce_of_the_library_is_read(ca_of):
    ca = ca_of()
    der = respond(ca, ca, CertStatus.GOOD, nonce=b"\x01")
    read = library.load_der_ocsp_response(der)
    assert read.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"\x01"
    assert ocsp.inspect_response(der).nonce == b"\x01"
