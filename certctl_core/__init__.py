"""certctl_core: the framework-free library behind certctl.

``Core.open(directory)`` is the whole installation as one object; see docs/embedding.md.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing is slow to import, and `certctl --version` comes through here
if TYPE_CHECKING:
    from typing import Any

    from certctl_core.app import Core
    from certctl_core.kernel.actors import Actor, ActorType
    from certctl_core.kernel.config import Settings
    from certctl_core.kernel.errors import CertctlError

__all__ = ["Actor", "ActorType", "CertctlError", "Core", "Settings"]

_HOMES = {
    "Actor": "certctl_core.kernel.actors",
    "ActorType": "certctl_core.kernel.actors",
    "CertctlError": "certctl_core.kernel.errors",
    "Core": "certctl_core.app",
    "Settings": "certctl_core.kernel.config",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use: agents and clients need only a corner of the library."""
    home = _HOMES.get(name)
    if home is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module

    return getattr(import_module(home), name)
