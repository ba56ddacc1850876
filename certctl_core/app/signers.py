"""The configured signers: one instance a kind, opened on first use; which purpose uses which."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from pydantic import Field

from certctl_core.app.errors import SignerNotConfigured
from certctl_core.contracts.host.contexts import (
    HostContext,
    MemoryState,
    ProcessLocks,
    plugin_logger,
    product,
)
from certctl_core.contracts.host.guard import Guard
from certctl_core.contracts.host.registry import Entry, Registry
from certctl_core.contracts.http import HttpFactory
from certctl_core.contracts.options import validate_config
from certctl_core.contracts.signers import KeyAlgorithm, KeyPurpose, SignerProvider
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.config import Settings
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.operations import View
from certctl_core.kernel.secrets import Secret
from certctl_core.lifecycle.authorities.signers import GuardedSigner
from certctl_core.pki.pkcs11_uri import PKCS11URI, is_pkcs11_uri, parse_pkcs11_uri

_CHECK_BUDGET = timedelta(seconds=10)

DATABASE = "database"
"""What stands for a signer where a key is sealed in the database by the keyring."""


class PurposeView(View):
    """Which signer keeps the keys of a purpose."""

    purpose: KeyPurpose
    signer: str = Field(
        description="Kind of the signer; `database` where the keyring seals keys in the database."
    )
    setting: str = Field(
        description="The setting that decides; empty where nothing is to be chosen."
    )


class SignerView(View):
    """A kind of signer."""

    kind: str
    title: str
    summary: str
    available: bool = Field(description="Whether its plugin can be used here.")
    error: str = Field(description="Why not, or why the place of its keys cannot be reached.")
    is_ready: bool = Field(description="Whether keys can be had and made now.")
    is_ephemeral: bool = Field(description="Its keys are gone with the process.")
    algorithms: list[KeyAlgorithm]
    purposes: list[KeyPurpose] = Field(description="What the settings use it for.")


class SignerListView(View):
    """The signers of this installation, and what each is used for."""

    signers: list[SignerView]
    purposes: list[PurposeView]


class Signers:
    """Signer instances by kind.

    Args:
        registry: Gives the plugin registry when it is there (it needs the authorities first).
        settings: Say where files lie and how the token is reached.
        clock: The time.
        http: Makes HTTP clients for signers that speak to a service.
    """

    def __init__(
        self,
        *,
        registry: Callable[[], Registry],
        settings: Settings,
        clock: Clock,
        http: Callable[[], HttpFactory],
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._clock = clock
        self._http = http
        self._instances: dict[str, SignerProvider] = {}
        self._lock = threading.Lock()
        self.audit_at: Callable[[], str] = str
        """Which signer keeps the audit log's key, once that is known."""

    def get(self, kind: str) -> SignerProvider:
        """The signer of a kind.

        Raises:
            KindUnknown, KindUnavailable: No usable plugin offers it.
            SignerNotConfigured: Its settings are missing.
        """
        with self._lock:
            found = self._instances.get(kind)
            if found is None:
                found = self._make(kind, self._config(kind))
                self._instances[kind] = found
            return found

    def files_below(self, directory: Path, passphrase: Secret | None) -> SignerProvider:
        """A ``file`` signer for the operator's own key files."""
        config: dict[str, object] = {"key_root": str(directory)}
        if passphrase is not None:
            config["passphrase"] = passphrase
        return self._make("file", config)

    def describe(self) -> SignerListView:
        """Every kind, whether its keys can be had now, and what it is used for.

        Asks tokens and services, so it is called outside any unit of work.
        """
        choices = self.choices()
        return SignerListView(
            signers=[self._describe(entry, choices) for entry in self._registry().signers.values()],
            purposes=list(choices),
        )

    def _describe(
        self, entry: Entry[type[SignerProvider]], choices: tuple[PurposeView, ...]
    ) -> SignerView:
        info, plugin = entry.info, entry.plugin
        error = info.error
        if info.available:
            try:
                signer = self.get(info.kind)
                guard = Guard(info.kind, clock=self._clock)
                guard.call(signer.check, budget=_CHECK_BUDGET, what="check")
            except CertctlError as failure:
                error = failure.detail
        return SignerView(
            kind=info.kind,
            title=info.title,
            summary=plugin.summary,
            available=info.available,
            error=error,
            is_ready=not error,
            is_ephemeral=plugin.is_ephemeral,
            algorithms=[one for one in KeyAlgorithm if one in plugin.algorithms],
            purposes=[choice.purpose for choice in choices if choice.signer == info.kind],
        )

    def choices(self) -> tuple[PurposeView, ...]:
        """Which signer each purpose uses."""
        signers, ocsp = self._settings.signers, self._settings.ocsp
        stored = "file" if ocsp.responder_key_store == "file" else DATABASE
        return (
            PurposeView(purpose=KeyPurpose.CA, signer=signers.ca, setting="CERTCTL_SIGNER_CA"),
            PurposeView(
                purpose=KeyPurpose.OCSP,
                signer=signers.ocsp or stored,
                setting="CERTCTL_SIGNER_OCSP",
            ),
            PurposeView(
                purpose=KeyPurpose.AUDIT,
                signer=self.audit_at() or self.audit_kind(),
                setting="CERTCTL_AUDIT_KEY" if self._settings.audit.key else "CERTCTL_SIGNER_AUDIT",
            ),
            PurposeView(purpose=KeyPurpose.SERVER, signer="file", setting=""),
        )

    def audit_kind(self) -> str:
        """The signer of the audit log's key, or ``database``."""
        named = "pkcs11" if self._settings.audit.key else ""
        return self._settings.signers.audit or named or DATABASE

    def guarded(self, kind: str) -> GuardedSigner:
        """The signer of a kind, each call of it guarded and counted."""
        return GuardedSigner(self.get(kind), clock=self._clock)

    def _config(self, kind: str) -> dict[str, object]:
        if kind == "file":
            return {"key_root": str(self._settings.data_dir)}
        return self._token() if kind == "pkcs11" else {}

    def _token(self) -> dict[str, object]:
        """How the token is reached: by settings of its own, or by the URI of the CA key."""
        given = self._settings.signers
        place = str(self._settings.ca.key_path or "")
        if not is_pkcs11_uri(place):
            place = self._settings.audit.key or ""
        named = parse_pkcs11_uri(place) if is_pkcs11_uri(place) else PKCS11URI()
        module = str(given.pkcs11_module or named.module_path)
        if not module:
            raise SignerNotConfigured(signer="pkcs11", setting="CERTCTL_PKCS11_MODULE")
        config: dict[str, object] = {
            "module": module,
            "token": given.pkcs11_token or named.token,
            "pin_folder": os.path.realpath(self._settings.data_dir / "secrets"),
            "sessions": given.pkcs11_sessions,
        }
        if given.pkcs11_pin is not None:
            config["pin"] = given.pkcs11_pin
        elif named.pin_file:
            config["pin_file"] = named.pin_file
        return config

    def _make(self, kind: str, config: dict[str, object]) -> SignerProvider:
        plugin = self._registry().signers.require(kind)
        context = HostContext(
            instance_id=f"signer-{kind}",
            http=self._http(),
            clock=self._clock,
            log=plugin_logger(kind, f"signer-{kind}"),
            state=MemoryState(),
            lock=ProcessLocks(),
            product=product(),
        )
        signer = plugin(validate_config(plugin.Config, config), context)
        signer.open()
        return signer

    def close(self) -> None:
        """Close every signer."""
        for signer in self._instances.values():
            signer.close()
        self._instances = {}
