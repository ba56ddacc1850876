"""What can be wrong with a CA key and its certificate; each fact has its own class (02 CA-4).

::

    CAMaterialError            503  base: this CA cannot be used; data: path, reason
    ├── CAPathsIncomplete · CAFileUnreadable · CACertificateMalformed · CAKeyMalformed
    ├── CAKeyPermissions · CAKeyUnsupported · CAKeyMismatch
    ├── NotACACertificate · CAKeyUsageForbidsSigning · CAKeyUsageForbidsOCSP
    ├── CANotYetValid · CAExpired · CAChainBroken
    ├── CAKeyUnavailable · IssuingCAUnusable
    └── CAKeyOutOfService
    AuthorityUnavailable       503  the issuer has no usable CA at the moment
    CAKeyInFiles · CAKeyInTree · CAKeyStateWrong · CAKeyStillNeeded · CAKeyJustChanged   409
    LeafNotPossible            422  base: this request cannot be certified
    ├── LintRefused · MustStapleNeedsOCSPURL · NameConstraintViolated
    SelfCheckFailed            500  the new certificate is not what it should be
    UnknownAuthority           404
    SerialAlreadyIssued        409

What the ``local`` issuer raises is a ``PluginError``, as from every other kind of issuer.
"""

from __future__ import annotations

from typing import ClassVar

from certctl_core.contracts.errors import ErrorClass, PluginError, RequestNotValid
from certctl_core.kernel.errors import Conflict, ErrorKind, NotFound


class CAMaterialError(PluginError):
    """Base: the certificate or key of a CA cannot be used; data: ``path`` and ``reason``.

    ``path`` is the file, or another signer's key reference; it names a place, never a content.
    """

    code = "ca_material"
    kind = ErrorKind.UNAVAILABLE
    error_class = ErrorClass.CONFIG
    text = "The CA cannot be used: {path}: {reason}."
    hint = "Put the right files back or correct the settings, then reload."
    members = ("path", "reason")


class CAPathsIncomplete(CAMaterialError):
    """A certificate path without a key path, or the other way round (02 CA-1)."""

    code = "ca_paths_incomplete"
    text = "The CA is only half configured: {path}: {reason}."


class CAFileUnreadable(CAMaterialError):
    """The file is missing, empty, too large or not readable by the service."""

    code = "ca_file_unreadable"
    text = "The CA file {path} cannot be read: {reason}."


class CACertificateMalformed(CAMaterialError):
    """The certificate file holds no certificate that can be parsed."""

    code = "ca_certificate_malformed"
    text = "The CA certificate in {path} is not usable: {reason}."


class CAKeyMalformed(CAMaterialError):
    """The key file holds no private key that can be parsed."""

    code = "ca_key_malformed"
    text = "The CA key {path} is not usable: {reason}."


class CAKeyPermissions(CAMaterialError):
    """Others than the service may read the key file (02 SIGN-3)."""

    code = "ca_key_permissions"
    text = "The CA key {path} is not kept safely: {reason}."
    hint = "chmod 0600 the key file and give it to the service user."


class CAKeyUnsupported(CAMaterialError):
    """The key's algorithm or size is not one that signs here."""

    code = "ca_key_unsupported"
    text = "The CA in {path} has a key that is not supported: {reason}."


class CAKeyMismatch(CAMaterialError):
    """The key does not belong to the certificate."""

    code = "ca_key_mismatch"
    text = "The CA key {path} belongs to another certificate: {reason}."


class NotACACertificate(CAMaterialError):
    """BasicConstraints does not say ``CA:TRUE``."""

    code = "not_a_ca_certificate"
    text = "The certificate in {path} is no CA: {reason}."


class CAKeyUsageForbidsSigning(CAMaterialError):
    """The keyUsage extension is there and lacks keyCertSign (RFC 5280 §4.2.1.3)."""

    code = "ca_key_usage_forbids_signing"
    text = "The CA in {path} may not sign certificates: {reason}."


class CAKeyUsageForbidsOCSP(CAMaterialError):
    """CERTCTL_OCSP_DIRECT_SIGNING is on and the CA's keyUsage lacks digitalSignature (02 RSP-6)."""

    code = "ca_key_usage_forbids_ocsp"
    text = "The CA in {path} may not sign OCSP responses itself: {reason}."
    hint = "Switch CERTCTL_OCSP_DIRECT_SIGNING off: a delegated responder signs then."


class CANotYetValid(CAMaterialError):
    """``notBefore`` lies in the future."""

    code = "ca_not_yet_valid"
    text = "The CA in {path} is not valid yet: {reason}."


class CAExpired(CAMaterialError):
    """``notAfter`` has passed: such a CA never signs a leaf (02 CA-5)."""

    code = "ca_expired"
    text = "The CA in {path} has expired: {reason}."


class CAChainBroken(CAMaterialError):
    """The certificates after the first do not lead upwards link by link."""

    code = "ca_chain_broken"
    text = "The chain in {path} does not hold: {reason}."


class CAKeyUnavailable(CAMaterialError):
    """The signer cannot give the key that belongs to a known CA certificate."""

    code = "ca_key_unavailable"
    text = "The CA key {path} cannot be had: {reason}."


class CAKeyOutOfService(CAMaterialError):
    """The files hold a key that was declared compromised or retired here."""

    code = "ca_key_out_of_service"
    text = "The CA key {path} is out of service: {reason}."
    hint = "Use another CA key."


class IssuingCAUnusable(CAMaterialError):
    """The CA of the tree that is to issue does not exist or is not active (02 HIER-6)."""

    code = "issuing_ca_unusable"
    text = "The CA {path} cannot issue: {reason}."
    hint = "Choose an active CA of the tree as issuing_ca_id."


class AuthorityUnavailable(PluginError):
    """The issuer has no CA that may sign now; data: ``issuer_id``. The log knows the cause."""

    code = "authority_unavailable"
    kind = ErrorKind.UNAVAILABLE
    error_class = ErrorClass.CONFIG
    text = "The CA of issuer {issuer_id} cannot sign at the moment."
    hint = "Test the issuer to see the cause."


class CAKeyInFiles(Conflict):
    """The CA lies in the operator's files: only they can be replaced; data: ``path``."""

    code = "ca_key_in_files"
    text = "The CA of issuer {issuer_id} lies in files ({path}), so that no key can be made here."
    hint = (
        "Rename both files to ….old-rotated-DATE, put the new ones in their place and reload:"
        " docs/operator/disaster-recovery.md shows the commands."
    )


class CAKeyInTree(Conflict):
    """The key belongs to a CA of the tree and is replaced or retired there; data: ``member_id``."""

    code = "ca_key_in_tree"
    text = "The CA {member_id} belongs to the tree of issuer {issuer_id}."
    hint = (
        "Create a new CA in the tree, make it the issuing one, then retire the old one:"
        " 'certctl ca create', 'certctl ca retire'."
    )


class CAKeyStateWrong(Conflict):
    """The key is not in a state that allows this; data: ``ca_key_id``, ``state``."""

    code = "ca_key_wrong_state"
    text = "CA key {ca_key_id} is {state}, which does not allow this."
    hint = "'certctl ca list' shows the keys and their states."


class CAKeyStillNeeded(Conflict):
    """Certificates of the key are still valid: without it they lose CRL and OCSP."""

    code = "ca_key_still_needed"
    text = "CA key {ca_key_id} still answers for {unexpired} certificates that have not expired."
    hint = "Wait for the last of them, or use 'certctl ca mark-compromised' if the key is stolen."


class CAKeyJustChanged(Conflict):
    """Another rotation was faster; nothing was changed by this one."""

    code = "ca_key_just_changed"
    text = "The CA key of issuer {issuer_id} was replaced by somebody else at the same moment."
    hint = "Look at 'certctl ca list' before you try again."


class UnknownAuthority(NotFound):
    """No CA key of that id was ever seen here; data: ``ca_key_id``."""

    code = "unknown_ca_key"
    text = "There is no CA key {ca_key_id}."


class SerialAlreadyIssued(Conflict):
    """The ledger already holds this serial for this CA key; nothing was written.

    Order again: the next certificate carries another serial (02 CERT-2).
    """

    code = "serial_already_issued"
    text = "Serial {serial} was already issued by CA key {ca_key_id}."
    retryable: ClassVar[bool] = True


class SelfCheckFailed(PluginError):
    """The finished certificate did not pass our own check; it never left (02 CERT-20)."""

    code = "certificate_self_check_failed"
    kind = ErrorKind.INTERNAL
    text = "The new certificate failed its self-check and was discarded."


class LeafNotPossible(RequestNotValid):
    """Base: the CA cannot certify this request; ``fields`` names the attributes."""

    code = "certificate_not_possible"
    text = "The CA cannot certify this request: {summary}."


class LintRefused(LeafNotPossible):
    """The certificate would break a rule for certificates; it was not signed (02 CERT-20)."""

    code = "lint_refused"
    text = "The certificate would not be a proper one: {summary}."


class MustStapleNeedsOCSPURL(LeafNotPossible):
    """Must-staple without an OCSP address: no server could ever staple (02 CERT-16)."""

    code = "must_staple_needs_ocsp_url"
    text = "Must-staple cannot be issued: {summary}."


class NameConstraintViolated(LeafNotPossible):
    """A name lies outside the name constraints of the CA (02 CERT-18)."""

    code = "name_constraint_violation"
    text = "The CA may not certify this name: {summary}."
