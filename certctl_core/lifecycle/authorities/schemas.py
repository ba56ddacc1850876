"""The configuration of a local issuer, and what the API shows of its CA keys."""

from datetime import datetime
from typing import Self

from pydantic import Field, model_validator

from certctl_core.contracts.options import AbsPath, HttpUrl, PluginConfig, option
from certctl_core.kernel.operations import View
from certctl_core.lifecycle.authorities.types import CAKeyState, CAOrigin, HierarchyMode
from certctl_core.pki.errors import MalformedPKCS11URI, NameRejected
from certctl_core.pki.keys import KeyAlgorithm
from certctl_core.pki.names import check_common_name
from certctl_core.pki.pkcs11_uri import is_pkcs11_uri, parse_pkcs11_uri

DEFAULT_COMMON_NAME = "certctl Local CA"
MAX_VALIDITY_DAYS = 3650
MAX_CA_VALIDITY_DAYS = 36500


class LocalConfig(PluginConfig):
    """A CA of our own (02 §5): made here, or the operator's files.

    Everything has a default, so ``{}`` is a working configuration (02 CA-6).
    """

    ca_common_name: str = option(
        DEFAULT_COMMON_NAME,
        title="CA name",
        help="Common name of the CA certificate that is made on first use; it stays.",
        group="CA",
        min_length=1,
        max_length=64,
    )
    ca_key_algorithm: KeyAlgorithm = option(
        KeyAlgorithm.ECDSA_P256,
        title="CA key",
        help="Algorithm of the CA key that is made on first use; it stays.",
        group="CA",
    )
    ca_validity_days: int = option(
        3650,
        title="CA lifetime (days)",
        help="Lifetime of the CA certificate that is made on first use.",
        group="CA",
        ge=1,
        le=MAX_CA_VALIDITY_DAYS,
    )
    ca_cert_path: AbsPath | None = option(
        None,
        title="CA certificate file",
        help="PEM: the CA that signs, then its chain. Instead of a CA made here.",
        group="CA files",
        example="/etc/certctl/ca.crt",
    )
    ca_key_path: AbsPath | None = option(
        None,
        title="CA key file",
        help="PEM, mode 0600; belongs to the certificate file.",
        group="CA files",
        example="/etc/certctl/ca.key",
    )
    ca_key_ref: str | None = option(
        None,
        title="CA key in a token",
        help="Instead of a key file or a new key: the pkcs11: URI of a key that is there already.",
        group="CA files",
        max_length=2048,
        pattern="^[a-z][a-z0-9_-]{1,31}:",
        example="pkcs11:token=certctl;object=issuing-ca",
        advanced=True,
    )
    signer: str | None = option(
        None,
        title="Signer",
        help="Which signer keeps the key of a CA made here; the one of the settings when empty.",
        group="CA",
        pattern="^[a-z][a-z0-9_-]{1,31}$",
        advanced=True,
    )
    hierarchy_mode: HierarchyMode = option(
        HierarchyMode.SINGLE,
        title="Kind of CA",
        help="One CA (single), or a tree of CAs of which one issues (tree).",
        group="CA tree",
        advanced=True,
    )
    issuing_ca_id: str | None = option(
        None,
        title="Issuing CA",
        help="The CA of the tree that signs certificates; it must be active.",
        group="CA tree",
        max_length=128,
        pattern="^ica-[A-Za-z0-9._-]+$",
        example="ica-issuing-1",
        advanced=True,
    )
    ephemeral: bool = option(
        default=False,
        title="In memory only",
        help="The CA is lost when the process ends. For tests, never for service.",
        group="CA",
        advanced=True,
    )
    validity_days: int = option(
        90,
        title="Certificate lifetime (days)",
        help="Longest lifetime of a certificate; a profile can only shorten it.",
        group="Certificates",
        ge=1,
        le=MAX_VALIDITY_DAYS,
    )
    include_root_in_chain: bool = option(
        default=False,
        title="Root in the chain",
        help="Serve the self-signed root as the last certificate of chains.",
        group="Certificates",
        advanced=True,
    )
    crl_distribution_point_urls: tuple[HttpUrl, ...] = option(
        (),
        title="CRL addresses",
        help="Instead of the address below the public URL of this installation.",
        group="Addresses in certificates",
        max_length=8,
        advanced=True,
    )
    ocsp_urls: tuple[HttpUrl, ...] = option(
        (),
        title="OCSP addresses",
        help="Instead of the address below the public URL of this installation.",
        group="Addresses in certificates",
        max_length=8,
        advanced=True,
    )
    ca_issuer_urls: tuple[HttpUrl, ...] = option(
        (),
        title="CA certificate addresses",
        help="Instead of the address below the public URL of this installation.",
        group="Addresses in certificates",
        max_length=8,
        advanced=True,
    )

    @model_validator(mode="after")
    def _paths_come_in_pairs(self) -> Self:
        if self.ca_key_ref is not None:
            self._check_key_ref(self.ca_key_ref)
        elif (self.ca_cert_path is None) != (self.ca_key_path is None):
            message = "ca_cert_path and ca_key_path belong together: give both or neither"
            raise ValueError(message)
        is_tree = self.hierarchy_mode is HierarchyMode.TREE
        if is_tree != (self.issuing_ca_id is not None):
            message = "hierarchy_mode tree and issuing_ca_id belong together: give both or neither"
            raise ValueError(message)
        if self.ephemeral and self.ca_cert_path is not None:
            message = "an ephemeral CA has no files"
            raise ValueError(message)
        try:
            check_common_name(self.ca_common_name)
        except NameRejected as error:
            raise ValueError(error.detail) from None
        return self

    def _check_key_ref(self, ref: str) -> None:
        kind = ref.partition(":")[0]
        if self.ca_key_path is not None or self.ephemeral:
            message = "ca_key_ref comes instead of ca_key_path and of ephemeral"
            raise ValueError(message)
        if self.signer not in {None, kind}:
            message = "signer and ca_key_ref name different signers"
            raise ValueError(message)
        if is_pkcs11_uri(ref):
            try:
                parse_pkcs11_uri(ref)
            except MalformedPKCS11URI as error:
                message = f"ca_key_ref is not usable: {error.data['reason']}"
                raise ValueError(message) from None


class CAKeyView(View):
    """One CA key of an issuer."""

    ca_key_id: str = Field(description="SHA-1 of the public key bits, 40 hex digits.")
    issuer_id: str
    state: CAKeyState
    origin: CAOrigin
    signer: str
    key_ref: str | None = Field(description="Where the signer keeps the key; never the key.")
    subject: str
    serial: str
    key_algorithm: str
    fingerprint_sha256: str
    not_before: datetime
    not_after: datetime
    first_seen_at: datetime
    member_id: str | None = Field(description="Its id in the tree of CAs, if it is part of one.")
    can_sign: bool = Field(description="Whether this process has the key at hand.")
    warnings: list[str]
    crl_urls: list[str]
    ocsp_urls: list[str]
    ca_issuer_urls: list[str]
    certificate_pem: str
    chain_pem: str = Field(description="What stands above it, the root last where known.")
    cross_pem: str = Field(
        description="The same key, certified by the CA before or after it; empty without one."
    )
