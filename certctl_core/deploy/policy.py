"""The policy of the host: what the agent may write and run, whatever the server says (CMD-04, -05).

A TOML file that only root can write::

    commands = ["systemctl reload my-nginx", ["/opt/nginx/sbin/nginx", "-p", "/opt/nginx", "-t"]]

    [targets]
    allow = ["nginx"]

    [paths]
    write = ["/etc/nginx/tls", "/srv/certificates"]
"""

import hashlib
import os
import re
import stat
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from certctl_core.contracts.options import AbsPath, Command
from certctl_core.contracts.options.model import ConfigModel
from certctl_core.deploy.errors import PolicyDenied, PolicyUnsafe
from certctl_core.values import dataclass

DEFAULT_ROOTS = (
    "/etc/ssl",
    "/etc/pki",
    "/etc/nginx",
    "/etc/apache2",
    "/etc/httpd",
    "/etc/haproxy",
    "/etc/caddy",
    "/etc/traefik",
    "/etc/envoy",
    "/etc/postfix",
    "/etc/dovecot",
    "/opt",
    "/srv",
)
"""Where files may be written when the policy does not say."""

_DENIED = re.compile(
    r"/etc/cron[^/]*(?:/.*)?|/etc/sudoers[^/]*(?:/.*)?|/etc/(?:passwd|shadow|gshadow|group)-?"
    r"|/root/\.ssh(?:/.*)?|/home/[^/]+/\.ssh(?:/.*)?|/boot(?:/.*)?|/proc(?:/.*)?|/sys(?:/.*)?"
    r"|/(?:etc|run|lib|usr/lib|usr/local/lib)/systemd(?:/.*)?"
    # Whoever may write the policy makes the policy.
    r"|/etc/certctl(?:/.*)?"
)
_MAX_BYTES = 256 * 1024
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class _Targets(ConfigModel):
    allow: tuple[str, ...] | None = None


class _Paths(ConfigModel):
    write: tuple[AbsPath, ...] = tuple(AbsPath(root) for root in DEFAULT_ROOTS)


class _File(ConfigModel):
    targets: _Targets = _Targets()
    paths: _Paths = _Paths()
    commands: tuple[Command, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What this host allows.

    Attributes:
        kinds: Target kinds that may be deployed; None for all.
        roots: Directories below which files may be written.
        commands: Argument lists that may be run; further arguments may follow.
        digest: SHA-256 of the policy file in hex; of nothing for the defaults.
    """

    kinds: frozenset[str] | None = None
    roots: tuple[str, ...] = DEFAULT_ROOTS
    commands: tuple[tuple[str, ...], ...] = ()
    digest: str = hashlib.sha256(b"").hexdigest()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the policy file; without one the defaults hold.

        Raises:
            PolicyUnsafe: Not a plain file of root that only root can write, or not well-formed.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise PolicyUnsafe(path=str(path), reason=error.strerror or "unreadable") from error
        with os.fdopen(descriptor, "rb") as file:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode) or state.st_uid != 0:
                raise PolicyUnsafe(path=str(path), reason="it is not a file of root")
            if state.st_mode & _OTHERS_WRITE:
                raise PolicyUnsafe(path=str(path), reason="others may write it")
            if state.st_size > _MAX_BYTES:
                raise PolicyUnsafe(path=str(path), reason="it is too large")
            data = file.read(_MAX_BYTES)
        try:
            # TOML has arrays only; the model is strict about everything else.
            parsed = _File.model_validate(tomllib.loads(data.decode()))
        except ValidationError as error:
            places = ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
            raise PolicyUnsafe(path=str(path), reason=f"wrong or unknown: {places}") from None
        except ValueError as error:
            raise PolicyUnsafe(path=str(path), reason="it is not TOML") from error
        allow = parsed.targets.allow
        return cls(
            kinds=None if allow is None else frozenset(allow),
            roots=tuple(parsed.paths.write),
            commands=tuple(command.argv for command in parsed.commands),
            digest=hashlib.sha256(data).hexdigest(),
        )

    def check_kind(self, kind: str) -> None:
        """Refuse a target kind that the host does not allow.

        Raises:
            PolicyDenied: It is not in the list.
        """
        if self.kinds is not None and kind not in self.kinds:
            raise PolicyDenied(what=f"targets of kind {kind}")

    def check_path(self, path: str, *, more_roots: Iterable[str] = ()) -> None:
        """Refuse a destination outside the roots or among the places that are always closed.

        Args:
            path: Absolute; checked as it stands, so check what it resolves to as well.
            more_roots: Directories of the agent itself.

        Raises:
            PolicyDenied: It is not allowed.
        """
        inside = any(_is_below(path, root) for root in (*self.roots, *more_roots))
        if not inside or _DENIED.fullmatch(path):
            raise PolicyDenied(what=f"to write {path}")

    def check_command(self, argv: tuple[str, ...], *, built_in: Iterable[Command] = ()) -> None:
        """Refuse a command that is neither of the target kind nor of the policy file.

        Args:
            argv: The whole argument list.
            built_in: The commands of the target kind; they match exactly.

        Raises:
            PolicyDenied: Nobody allowed it.
        """
        exact = any(argv == command.argv for command in built_in)
        if not exact and not any(argv[: len(prefix)] == prefix for prefix in self.commands):
            raise PolicyDenied(what=f"to run {' '.join(argv)[:200]}")


def _is_below(path: str, root: str) -> bool:
    # A root that is itself a link (/lib → /usr/lib) means the directory it leads to, too.
    return any(path.startswith(f"{each.rstrip('/')}/") for each in (root, os.path.realpath(root)))
