"""What the rooms of configured plugins have in common: their rows, as far as this room looks."""

from __future__ import annotations

from dataclasses import field
from typing import Protocol

from certctl_core.kernel.events import JSON
from certctl_core.values import dataclass


class VersionedRow(Protocol):
    """A row that is changed by compare-and-swap."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def version(self) -> int:
        """Moves with every write."""


class RevisedRow(Protocol):
    """A row that a running instance is built from."""

    @property
    def revision(self) -> int:
        """Moves only when a running instance has to be built anew."""


class SealedRow(Protocol):
    """A stored configuration."""

    @property
    def id(self) -> str:
        """The row that the envelopes are bound to."""

    @property
    def kind(self) -> str:
        """The canonical kind of its plugin."""

    @property
    def config(self) -> dict[str, JSON]:
        """Plain JSON; eight stars where a secret goes."""

    @property
    def secrets(self) -> dict[str, str]:
        """Field path → sealed envelope."""

    @property
    def secrets_set_at(self) -> dict[str, str]:
        """Field path → when the secret was set, RFC 3339."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredConfig:
    """A configuration in the form of the table.

    Attributes:
        plain: Plain JSON; eight stars where a secret goes.
        sealed: Field path → envelope.
        set_at: Field path → when the secret was set, RFC 3339.
        changed: Names of what differs from the row before, as ``config.<field>``.
    """

    plain: dict[str, JSON]
    sealed: dict[str, str]
    set_at: dict[str, str]
    changed: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A stored secret that cannot be opened.

    Attributes:
        row_id: Whose.
        key_id: The key that it was sealed with, or ``unknown``.
        code: The code of the error that says why.
    """

    row_id: str
    key_id: str
    code: str
