"""What a target wants done: files and commands, as values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from certctl_core.contracts.options import Command
from certctl_core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file that a target wants on the host.

    Attributes:
        path: Absolute. A symbolic link there stays; the file it points to is replaced.
        data: Its bytes, or a function that makes them from the present ones (None: no file yet).
        mode: Permission bits that the operator asked for; None keeps those of the present file.
        owner: User name or number that the operator asked for.
        group: Group name or number that the operator asked for.
        default_mode: For a file that is new; None is 0644, or 0600 where ``secret``.
        secret: Holds a private key: never readable by everybody, written first.
        same: Whether the present bytes mean the same, for formats with salt; None compares bytes.
    """

    path: str
    data: bytes | Callable[[bytes | None], bytes] = field(repr=False)
    mode: int | None = None
    owner: str | None = None
    group: str | None = None
    default_mode: int | None = None
    secret: bool = False
    same: Callable[[bytes], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that one deployment does on the host.

    Attributes:
        files: What to write; at least one, each path once.
        validate: Commands that judge the service's configuration; run before and after the files
            change.
        reload: Commands that make the service read the files, in order.
        touch: Files whose modification time is renewed after the reload commands.
    """

    files: tuple[File, ...]
    validate: tuple[Command, ...] = ()
    reload: tuple[Command, ...] = ()
    touch: tuple[str, ...] = ()
