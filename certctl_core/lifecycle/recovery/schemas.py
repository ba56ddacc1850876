"""What the recovery operations take and answer."""

from pydantic import Field

from certctl_core.kernel.operations import Input, View
from certctl_core.lifecycle.authorities import CAKeyState, CAKeyView
from certctl_core.lifecycle.authorities.schemas import MAX_CA_VALIDITY_DAYS
from certctl_core.pki.keys import KeyAlgorithm

MAX_IMPORT_BYTES = 64 * 1024 * 1024
"""A CRL with a million entries has forty megabytes; base64 adds a third."""


class RotateCA(Input):
    """What the next CA looks like; what is left out comes from the issuer's configuration."""

    common_name: str | None = Field(None, min_length=1, max_length=64)
    algorithm: KeyAlgorithm | None = None
    validity_days: int | None = Field(None, ge=1, le=MAX_CA_VALIDITY_DAYS)
    cross_sign: bool = Field(
        default=True, description="Whether the two CAs certify each other's key."
    )


class RotatedCAView(View):
    """The CA that issues now, and the one before it."""

    issuer_id: str
    former_ca_key_id: str | None
    current: CAKeyView


class RetiredCAView(View):
    """A CA key that signs nothing any more."""

    issuer_id: str
    ca_key_id: str
    state: CAKeyState


class MarkCompromised(Input):
    """Why, and what to do about it."""

    note: str = Field("", max_length=500, description="Why; kept in the audit log.")
    renew: bool = Field(default=False, description="Renew every affected certificate now.")


class RenewalsPlannedView(View):
    """What a bulk renewal will do."""

    issuer_id: str
    ca_key_id: str
    affected: int = Field(description="Managed certificates whose current version the key signed.")
    planned: int = Field(description="How many of them the scheduler renews from now on.")


class CompromisedView(View):
    """What a stolen key means.

    The affected certificates: ``GET /certificates?ca_key_id=…``.
    """

    issuer_id: str
    ca_key_id: str
    unexpired: int = Field(description="Certificates of the key that have not expired.")
    replaced_by: str | None = Field(
        description="The CA key that issues now; null when none can, until new files are there."
    )
    renewals: RenewalsPlannedView | None


class ImportCRL(Input):
    """A CRL that was kept outside."""

    crl: str = Field(
        max_length=MAX_IMPORT_BYTES, description="PEM, or the base64 of DER.", min_length=1
    )


class ImportedCRLView(View):
    """What a CRL brought back."""

    issuer_id: str
    ca_key_id: str
    crl_number: int
    entries: int
    added: int = Field(description="Revocations that were missing.")
    certificates_revoked: int = Field(description="Managed certificates that are Revoked now.")


class ImportCertificates(Input):
    """Certificates that this installation issued."""

    certificates: str = Field(max_length=MAX_IMPORT_BYTES, min_length=1, description="PEM.")


class ImportedCertificatesView(View):
    """What the certificates brought back."""

    added: int = Field(description="Certificates that the ledger lacked.")
    known: int = Field(description="Certificates that it had.")
    foreign: list[str] = Field(description="Subjects of certificates that no CA key here signed.")


CompromisedView.model_rebuild()
