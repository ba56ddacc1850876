"""The key of the audit log, where the settings want it: in the database or with a signer."""

from __future__ import annotations

from certctl_core.app.signers import Signers
from certctl_core.kernel.audit import AuditKeys, KeyPlace, SignerCalls
from certctl_core.kernel.config import Settings
from certctl_core.kernel.secrets import Keyring
from certctl_core.lifecycle.authorities.signers import GuardedSigner
from certctl_core.pki.keys import KeyAlgorithm


def audit_keys(signers: Signers, keyring: Keyring, *, settings: Settings, origin: str) -> AuditKeys:
    """The keys of this installation's log.

    Args:
        signers: Of the installation.
        keyring: Seals a key in the database.
        settings: Say where the key is to be.
        origin: The log's name for a first key.
    """
    chosen = bool(settings.signers.audit or settings.audit.key)
    return AuditKeys(
        keyring,
        origin=origin,
        place=KeyPlace(signer=signers.audit_kind() if chosen else "", ref=settings.audit.key or ""),
        signers=SignerCalls(
            load=lambda kind, ref: signers.guarded(kind).load(ref),
            generate=lambda kind, hint: _generated(signers.guarded(kind), hint),
        ),
    )


def _generated(signer: GuardedSigner, hint: str) -> tuple[object, str]:
    made = signer.generate(KeyAlgorithm.ED25519, hint)
    return made.key, made.ref
