"""Failures of the certificates room."""

from __future__ import annotations

from certctl_core.kernel.errors import Conflict, Invalid, NotFound


class CertificateNotFound(NotFound):
    """No managed certificate has this id."""

    code = "certificate_not_found"
    text = "There is no certificate {certificate_id}."
    hint = "'certctl certificates list' shows what there is."


class VersionNotFound(NotFound):
    """The certificate has no such version."""

    code = "version_not_found"
    text = "The certificate {certificate_id} has no such version."


class NoVersionYet(Conflict):
    """The certificate was never issued."""

    code = "no_version_yet"
    text = "The certificate {certificate_id} has not been issued yet."


class CertificateNameTaken(Conflict):
    """Another certificate has this name or id."""

    code = "certificate_name_taken"
    text = "A certificate with this name or id exists already."
    hint = "Choose another name, or renew the existing certificate."


class WrongState(Conflict):
    """The state table has no such step, or another writer was first."""

    code = "wrong_state"
    text = "The certificate is {certificate_status}: it cannot become {wanted}."
    members = ("certificate_status",)


class VersionAlreadyStored(Conflict):
    """The issuer handed out a certificate that it had handed out before."""

    code = "version_already_stored"
    text = "The issuer returned a certificate that is stored already."
    hint = "Send a request with a new key, or ask the issuer for a new certificate."


class BadName(Invalid):
    """A common name or subject alternative name is not usable."""

    code = "bad_name"
    text = "{reason}"
