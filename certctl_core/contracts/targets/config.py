"""The configurations that targets share: verification, file rights, certificate and key paths."""

import ipaddress
from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar, Self

from pydantic import model_validator
from typing_extensions import override

from certctl_core.contracts.options import (
    AbsPath,
    DnsName,
    Duration,
    FileMode,
    Host,
    Owner,
    PluginConfig,
    option,
)
from certctl_core.contracts.options.fields import Text
from certctl_core.contracts.options.model import ConfigModel
from certctl_core.contracts.targets.bundle import Bundle
from certctl_core.contracts.targets.plan import File

WORLD = 0o007
"""The permission bits of everybody else."""

_MAX_PORT = 65535


class Endpoint(Text):
    """``host:port`` or ``[IPv6]:port``: where a service is dialled."""

    __slots__ = ()

    schema: ClassVar[dict[str, Any]] = {"maxLength": 262, "pattern": ":[0-9]{1,5}$"}

    @property
    def host(self) -> str:
        """The host, without brackets."""
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self.rpartition(":")[2])

    @override
    @classmethod
    def parse(cls, text: str) -> str:
        host, colon, port = text.rpartition(":")
        digits = port.isascii() and port.isdigit() and len(port) <= len(str(_MAX_PORT))
        if not colon or not digits or not 1 <= int(port) <= _MAX_PORT:
            message = "must be host:port"
            raise ValueError(message)
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            message = "must have an IPv6 address in brackets, [2001:db8::1]:443"
            raise ValueError(message)
        name = Host.parse(host)
        return f"[{name}]:{int(port)}" if ":" in name else f"{name}:{int(port)}"


class Protocol(StrEnum):
    """How TLS starts on the endpoint: at once, or after STARTTLS of that protocol."""

    TLS = "tls"
    SMTP = "smtp"
    IMAP = "imap"
    POP3 = "pop3"
    LDAP = "ldap"
    POSTGRES = "postgres"


class OnFailure(StrEnum):
    """What a failed verification means."""

    ROLLBACK = "rollback"
    WARN = "warn"


class Verify(ConfigModel):
    """Whether the service serves the new certificate after the reload (spec 07 §11)."""

    enabled: bool = option(True, title="Verify")  # noqa: FBT003 - a default
    endpoint: Endpoint | None = option(
        None,
        title="Endpoint",
        help="host:port of the service, seen from the host of the agent. Without one nothing is "
        "verified, and the deployment says so.",
        example="127.0.0.1:443",
    )
    server_name: DnsName | None = option(
        None,
        title="Server name",
        help="The name sent as SNI; without one the host of the endpoint if it is a name.",
    )
    protocol: Protocol = option(Protocol.TLS, title="Protocol", advanced=True)
    timeout: Duration = option(timedelta(seconds=10), title="Time-out of a probe", advanced=True)
    attempts: int = option(3, title="Attempts", ge=1, le=10, advanced=True)
    backoff: Duration = option(
        timedelta(seconds=1), title="First wait", help="Doubles each time.", advanced=True
    )
    max_backoff: Duration = option(timedelta(seconds=16), title="Longest wait", advanced=True)
    delay: Duration = option(timedelta(), title="Wait before the first probe", advanced=True)
    check_chain: bool = option(
        True,  # noqa: FBT003 - a default
        title="Check the chain",
        help="The service must send every intermediate, too.",
    )
    all_addresses: bool = option(
        False,  # noqa: FBT003 - a default
        title="Probe all addresses",
        help="Every address of the host must serve it, not just the first that answers.",
        advanced=True,
    )
    on_failure: OnFailure = option(OnFailure.ROLLBACK, title="On failure")

    @property
    def sni(self) -> str | None:
        """The name to send, None where the endpoint is an address and no name is given."""
        if self.server_name is not None:
            return self.server_name
        if self.endpoint is None:
            return None
        try:
            ipaddress.ip_address(self.endpoint.host)
        except ValueError:
            return self.endpoint.host
        return None


class TargetConfig(PluginConfig):
    """Base of every target configuration."""

    verify: Verify = option(Verify(), title="Verification", group="Verification")
    backup_retention: int = option(
        3,
        title="Backups kept",
        help="0 keeps one only while the deployment runs.",
        ge=0,
        le=50,
        group="Safety",
    )
    command_timeout: Duration = option(
        timedelta(seconds=60),
        title="Time-out of a command",
        help="Then the command and its children are killed, and it counts as failed.",
        group="Safety",
    )


class FileConfig(TargetConfig):
    """Base of the configurations of file targets: modes and owners.

    What is not set comes from the file that is there, then from the target's defaults (DEP-02).
    """

    create_parents: bool = option(
        False,  # noqa: FBT003 - a default
        title="Create directories",
        help="Create missing directories of the files, with mode 0755.",
        group="Files",
        advanced=True,
    )
    cert_file_mode: FileMode | None = option(
        None, title="Mode of the certificate file", group="Files", advanced=True
    )
    cert_file_owner: Owner | None = option(
        None, title="Owner of the certificate file", group="Files", advanced=True
    )
    cert_file_group: Owner | None = option(
        None, title="Group of the certificate file", group="Files", advanced=True
    )
    key_file_mode: FileMode | None = option(
        None,
        title="Mode of the key file",
        help="Never with rights for everybody.",
        group="Files",
        advanced=True,
    )
    key_file_owner: Owner | None = option(
        None, title="Owner of the key file", group="Files", advanced=True
    )
    key_file_group: Owner | None = option(
        None, title="Group of the key file", group="Files", advanced=True
    )
    chain_file_mode: FileMode | None = option(
        None, title="Mode of the chain file", group="Files", advanced=True
    )
    chain_file_owner: Owner | None = option(
        None, title="Owner of the chain file", group="Files", advanced=True
    )
    chain_file_group: Owner | None = option(
        None, title="Group of the chain file", group="Files", advanced=True
    )

    @model_validator(mode="after")
    def _keys_are_private(self) -> Self:
        if self.key_file_mode is not None and self.key_file_mode & WORLD:
            message = "key_file_mode must not give rights to everybody"
            raise ValueError(message)
        return self

    def cert_file(self, path: str, data: str) -> File:
        """A file with certificates, with the rights of ``cert_file_*``."""
        return File(
            path=path,
            data=data.encode(),
            mode=self.cert_file_mode,
            owner=self.cert_file_owner,
            group=self.cert_file_group,
        )

    def chain_file(self, path: str, data: str) -> File:
        """A file with intermediates, with the rights of ``chain_file_*``."""
        return File(
            path=path,
            data=data.encode(),
            mode=self.chain_file_mode,
            owner=self.chain_file_owner,
            group=self.chain_file_group,
        )

    def secret_file(self, path: str, data: bytes, *, default_mode: int = 0o600) -> File:
        """A file with the private key, with the rights of ``key_file_*``.

        Args:
            path: Where it goes.
            data: Its bytes.
            default_mode: The mode of a file that is new, without rights for everybody.
        """
        return File(
            path=path,
            data=data,
            mode=self.key_file_mode,
            owner=self.key_file_owner,
            group=self.key_file_group,
            default_mode=default_mode,
            secret=True,
        )


class PairConfig(FileConfig):
    """Base of the configurations of servers that read a certificate file and a key file."""

    cert_path: AbsPath = option(title="Certificate file", group="Files", order=0)
    key_path: AbsPath = option(title="Key file", group="Files", order=1)
    chain_path: AbsPath | None = option(
        None,
        title="Chain file",
        help="Only for servers that read the intermediates from a file of their own; the "
        "certificate file then holds the leaf alone.",
        group="Files",
        order=2,
        advanced=True,
    )

    @model_validator(mode="after")
    def _paths_differ(self) -> Self:
        paths = [path for path in (self.cert_path, self.key_path, self.chain_path) if path]
        if len(set(paths)) != len(paths):
            message = "cert_path, key_path and chain_path must be different files"
            raise ValueError(message)
        return self

    def cert(self, bundle: Bundle, *, default: str) -> tuple[File, ...]:
        """The certificate file: ``default``, or the leaf alone where there is a chain file."""
        data = default if self.chain_path is None else bundle.leaf
        return (self.cert_file(self.cert_path, data),)

    def chain(self, bundle: Bundle) -> tuple[File, ...]:
        """The chain file, if there is one."""
        if self.chain_path is None:
            return ()
        return (self.chain_file(self.chain_path, bundle.chain),)

    def key(self, bundle: Bundle, *, mode: int = 0o600) -> tuple[File, ...]:
        """The key file; ``mode`` is for one that is new."""
        return (self.secret_file(self.key_path, bundle.key, default_mode=mode),)
