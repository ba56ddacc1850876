"""Failures of the recovery room."""

from __future__ import annotations

from certctl_core.kernel.errors import Unprocessable


class CRLUnreadable(Unprocessable):
    """What was given is no CRL; data: ``reason``."""

    code = "crl_unreadable"
    text = "This is not a CRL that can be read: {reason}."
    hint = "Give a complete CRL, in DER or PEM, as it was downloaded or exported."


class CRLForeign(Unprocessable):
    """No CA key of this installation signed the CRL; nothing was taken from it."""

    code = "crl_foreign"
    text = "No CA key of this installation signed this CRL of {issuer_dn} (number {number})."
    hint = "'certctl ca list' shows the CA keys; a former CA comes back with its files."


class CertificatesUnreadable(Unprocessable):
    """No certificate in what was given, or one that cannot be parsed."""

    code = "certificates_unreadable"
    text = "There is no certificate that can be read in what was given."
    hint = "Give certificates in PEM."


class CertificatesForeign(Unprocessable):
    """Not one of the certificates was issued here; data: ``subject`` of the first."""

    code = "certificates_foreign"
    text = "No CA key of this installation signed the certificate of {subject}."
    hint = "'certctl ca list' shows the CA keys; a former CA comes back with its files."
