"""Bodies and answers of this room."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from certctl_core.contracts.options import HttpUrl
from certctl_core.kernel.operations import Input, View
from certctl_core.lifecycle.hierarchy.types import CAState, CAWish
from certctl_core.pki.keys import KeyAlgorithm

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")
]
Part = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Subtree = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
PEM = Annotated[str, StringConstraints(min_length=1, max_length=65536)]
Note = Annotated[str, StringConstraints(max_length=1024)]

MAX_TTL_DAYS = 36500
MAX_NAMES = 256
DEFAULT_TTL_DAYS = 1825


class CASubject(Input):
    """The subject of a new CA."""

    common_name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    organization: list[Part] = Field(default_factory=list, max_length=8)
    organizational_unit: list[Part] = Field(default_factory=list, max_length=8)
    country: list[Part] = Field(default_factory=list, max_length=8)
    locality: list[Part] = Field(default_factory=list, max_length=8)
    province: list[Part] = Field(default_factory=list, max_length=8)

    def attributes(self) -> tuple[tuple[str, str], ...]:
        """(attribute, value), the widest first; without the common name."""
        return tuple(
            (attribute, value)
            for attribute, values in (
                ("countryName", self.country),
                ("stateOrProvinceName", self.province),
                ("localityName", self.locality),
                ("organizationName", self.organization),
                ("organizationalUnitName", self.organizational_unit),
            )
            for value in values
        )


class CAConstraints(Input):
    """Name constraints: ``DNS:example.com``, ``IP:10.0.0.0/8``, ``email:…``, ``URI:…`` …."""

    permitted: list[Subtree] = Field(default_factory=list, max_length=MAX_NAMES)
    excluded: list[Subtree] = Field(default_factory=list, max_length=MAX_NAMES)


_OF_CHILDREN = (
    "subject",
    "ttl_days",
    "path_len_constraint",
    "name_constraints",
    "csr_only",
    "algorithm",
)


class CreateIntermediate(Input):
    """A new CA: a root by its certificate, or a CA below another one."""

    name: Name = Field(description="Unique in the issuer's tree.")
    root_cert_pem: PEM | None = Field(None, description="Root: its self-signed certificate.")
    key_driver_id: Annotated[str, StringConstraints(max_length=1024)] | None = Field(
        None,
        description=(
            "An existing key: `signer:reference`, or the key id of one that the issuer has. A root"
            " without it is offline; a child without it gets a new key."
        ),
    )
    parent_ca_id: str | None = Field(None, max_length=128, description="Child: the CA above it.")
    subject: CASubject | None = Field(None, description="Child: its subject.")
    algorithm: KeyAlgorithm = Field(
        KeyAlgorithm.ECDSA_P256, description="Child: the algorithm of its new key."
    )
    ttl_days: int = Field(
        DEFAULT_TTL_DAYS, ge=1, le=MAX_TTL_DAYS, description="Child: capped at its parent's end."
    )
    path_len_constraint: int | None = Field(
        None, ge=0, le=8, description="Child: how many CAs may follow below it."
    )
    name_constraints: list[CAConstraints] = Field(
        default_factory=list, max_length=16, description="Child: within those above it."
    )
    ocsp_responder_url: HttpUrl | None = Field(
        None, description="What its certificates name instead of our OCSP address."
    )
    metadata: dict[Part, Annotated[str, StringConstraints(max_length=1024)]] = Field(
        default_factory=dict, max_length=64, description="Free key-value pairs."
    )
    csr_only: bool = Field(
        default=False,
        description="Child: only a request; always so below a CA whose key is not here.",
    )

    @model_validator(mode="after")
    def _one_of_two_forms(self) -> Self:
        if (self.root_cert_pem is None) == (self.parent_ca_id is None):
            message = "give root_cert_pem for a root, or parent_ca_id for a CA below another one"
            raise ValueError(message)
        if self.root_cert_pem is not None:
            odd = [name for name in _OF_CHILDREN if name in self.model_fields_set]
            if odd:
                message = f"a root has no {', '.join(odd)}: its certificate says everything"
                raise ValueError(message)
        elif self.subject is None:
            message = "a CA below another one needs a subject"
            raise ValueError(message)
        return self

    def wish(self) -> CAWish:
        """The child form as a value."""
        assert self.subject is not None  # noqa: S101 - the validator saw to it
        return CAWish(
            common_name=self.subject.common_name,
            subject=self.subject.attributes(),
            algorithm=self.algorithm,
            ttl_days=self.ttl_days,
            path_length=self.path_len_constraint,
            permitted=tuple(text for one in self.name_constraints for text in one.permitted),
            excluded=tuple(text for one in self.name_constraints for text in one.excluded),
        )


class RetireIntermediate(Input):
    """Take a CA out of use, in two calls."""

    note: Note = ""
    confirm: bool = Field(
        default=False, description="On the second call: it has nothing active below it."
    )


class InstallCertificate(Input):
    """The certificate that another CA signed from the request."""

    cert_pem: PEM
    chain_pem: PEM | None = Field(
        None, description="CAs between it and its parent that are no part of the tree."
    )


class RevokeIntermediate(Input):
    """Revoke a CA."""

    reason: Annotated[str, StringConstraints(max_length=64)] = Field(
        "unspecified", description="RFC 5280 §5.3.1; a CA cannot be put on hold."
    )
    note: Note = ""


class NameConstraintsView(View):
    """Name constraints of a CA certificate."""

    permitted: list[str]
    excluded: list[str]


class IntermediateView(View):
    """One CA of a tree."""

    id: str
    owning_issuer_id: str
    parent_ca_id: str | None
    name: str
    subject: str
    state: CAState
    is_issuing: bool = Field(description="Whether it signs the issuer's certificates.")
    can_sign: bool = Field(
        description="Whether it takes new CAs: active, key at hand, nothing above it revoked."
    )
    revoked_above: bool = Field(description="Whether a CA above it is revoked.")
    ca_key_id: str = Field(description="SHA-1 of the public key bits, 40 hex digits.")
    key_driver_id: str | None = Field(
        description="Signer and reference of its key, never the key; null for an offline CA."
    )
    key_algorithm: str
    serial: str | None = Field(description="Of its certificate.")
    fingerprint_sha256: str | None
    not_before: datetime | None
    not_after: datetime | None
    path_len_constraint: int | None
    name_constraints: list[NameConstraintsView]
    ocsp_responder_url: str | None
    metadata: dict[str, str]
    cert_pem: str | None
    chain_pem: str = Field(description="What stands above it, the root last.")
    csr_pem: str | None = Field(description="The request, if another CA signs it.")
    created_by: str
    created_at: datetime
    updated_at: datetime


class IntermediatesView(View):
    """The CAs of an issuer, oldest first; ``parent_ca_id`` makes the tree."""

    data: list[IntermediateView]


class RetiredIntermediateView(View):
    """What a call to retire did."""

    id: str
    decided_by: str
    confirmed: bool
    state: CAState


class RevokedIntermediateView(View):
    """What a revocation did."""

    id: str
    state: CAState
    reason: str
    on_crl: bool = Field(
        description="Whether its parent's CRL tells it; an offline parent has a CRL of its own."
    )
