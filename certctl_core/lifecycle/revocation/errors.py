"""Failures of the revocation room."""

from __future__ import annotations

from certctl_core.kernel.errors import (
    Conflict,
    Internal,
    Invalid,
    NotFound,
    NotSupported,
    Unavailable,
)


class BadRevocationReason(Invalid):
    """The reason is not one of the eight of RFC 5280 that apply."""

    code = "bad_revocation_reason"
    text = "{reason!r} is not a revocation reason. Known: {known}."


class AlreadyRevoked(Conflict):
    """The certificate is revoked already."""

    code = "already_revoked"
    text = "The certificate {certificate_id} is revoked already."


class NotOnHold(Conflict):
    """Only a certificateHold can be released."""

    code = "not_on_hold"
    text = "The certificate {certificate_id} is not on hold."


class HeldKeyBlocked(Conflict):
    """What is on hold has a key that is never certified: releasing it would trust that key again."""

    code = "held_key_blocked"
    text = "The certificate {certificate_id} stays on hold: its key is blocked."
    hint = "If the key was blocked by mistake, unblock it first."


class NotRevocable(Conflict):
    """The certificate was never issued, or is archived."""

    code = "not_revocable"
    text = "The certificate {certificate_id} cannot be revoked: it is {status}."


class PKIIssuerNotFound(NotFound):
    """No CA of this installation has this id."""

    code = "pki_issuer_not_found"
    text = "There is no CA here by that name."


class NoPublishing(NotSupported):
    """The issuer's revocation data is published by its own operator, not here."""

    code = "no_publishing"
    text = "The issuer {issuer_id} publishes its own CRL and OCSP; see the certificate's pointers."


class RevocationPending(Unavailable):
    """The issuer wants an approval before it revokes; the notice is sent again."""

    code = "revocation_pending"
    text = "The issuer {issuer_id} has not confirmed the revocation yet."


class CRLSigningForbidden(Internal):
    """The CA certificate's key usage does not allow to sign CRLs (02 CRL-8)."""

    code = "crl_signing_forbidden"
    text = "CA certificate lacks cRLSign: it must not sign CRLs."


class CRLNotPublished(NotFound):
    """A certificate points at a partition that was never made here."""

    code = "crl_not_published"
    text = "The certificate points at the partition {part} of the CRL, which is not published."


class CANotTrusted(Conflict):
    """The CA of a certificate is compromised or revoked, and has no list any more."""

    code = "ca_not_trusted"
    text = "There is no list of this CA any more. {problem}"
    hint = "Replace the certificate: nothing that this CA has signed can be trusted."


class CRLUnavailable(Internal):
    """No CRL could be made and no valid older one exists."""

    code = "crl_unavailable"
    text = "The CRL could not be generated."


class ResponderNotConfigured(Internal):
    """There is no usable place for responder keys, or no CA key to certify one (02 OCSP-5)."""

    code = "responder_not_configured"
    text = "OCSP: responder not configured."


class OCSPFailed(Internal):
    """An answer could not be made; the log has the cause."""

    code = "ocsp_failed"
    text = "The OCSP answer could not be made."


class ResponderKeysApart(Internal):
    """Several servers keep responder keys in directories that they do not share (02 RSP-5)."""

    code = "responder_keys_apart"
    text = (
        "Another server of this database ({hostname}) keeps the OCSP responder keys in another "
        "directory than {path}: each would replace the other's."
    )
    hint = (
        "Set CERTCTL_OCSP_RESPONDER_KEY_STORE=db on every server, or let "
        "CERTCTL_OCSP_RESPONDER_KEY_DIR be a directory that all of them share."
    )


class ResponderKeyUnusable(Internal):
    """The responder key cannot be used and a new one could not be made (02 OCSP-5)."""

    code = "responder_key_unusable"
    text = "OCSP: failed to load responder key."
