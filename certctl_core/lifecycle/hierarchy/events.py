"""What happens to the CAs of a tree (02 HIER-10)."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from certctl_core.kernel.events import Category, Event, Severity
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class IntermediateEvent(Event):
    """Base: ``resource_id`` is the CA.

    Attributes:
        key_driver_id: Signer and reference of the key; None where it is not here.
        note: The operator's words; may be empty.
    """

    category: ClassVar[Category] = Category.CONFIG
    resource_type: ClassVar[str] = "intermediate_ca"

    issuer_id: str
    parent_ca_id: str | None
    ca_name: str
    subject: str
    state: str
    ca_key_id: str
    key_driver_id: str | None
    not_before: datetime | None
    not_after: datetime | None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class RootCreated(IntermediateEvent):
    """A root was registered."""

    tag: ClassVar[str] = "intermediate_ca.root_created"


@dataclass(frozen=True, kw_only=True)
class ChildCreated(IntermediateEvent):
    """A CA was made below another one; ``state`` is ``created`` while its certificate is due."""

    tag: ClassVar[str] = "intermediate_ca.child_created"


@dataclass(frozen=True, kw_only=True)
class CertificateInstalled(IntermediateEvent):
    """A CA got the certificate that another CA signed from its request."""

    tag: ClassVar[str] = "intermediate_ca.activated"


@dataclass(frozen=True, kw_only=True)
class CARetiring(IntermediateEvent):
    """A CA signs nothing new from now on."""

    tag: ClassVar[str] = "intermediate_ca.retiring"
    severity: ClassVar[Severity] = Severity.WARNING


@dataclass(frozen=True, kw_only=True)
class CARetired(IntermediateEvent):
    """A CA has nothing active below it any more."""

    tag: ClassVar[str] = "intermediate_ca.retired"


@dataclass(frozen=True, kw_only=True)
class CARevoked(IntermediateEvent):
    """A CA was revoked.

    Attributes:
        on_crl: Whether its parent's CRL says so; one whose key is not here has a CRL of its own.
    """

    tag: ClassVar[str] = "intermediate_ca.revoked"
    severity: ClassVar[Severity] = Severity.CRITICAL

    reason: str
    on_crl: bool
