"""References to secrets that live elsewhere: ``secretref:<kind>:<path>`` (DESIGN §7, spec 06 CFG-4).

``env`` and ``file`` are built in, further kinds are secret-source plugins. A reference is not a
secret itself: it is stored plainly and shown. What it names is read when it is used.
"""

from __future__ import annotations

import re

from certctl_core.values import dataclass

PREFIX = "secretref:"
_REFERENCE = re.compile(r"secretref:([a-z][a-z0-9_-]{1,31}):([\x21-\x7e]{1,1024})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Where a secret lies.

    Attributes:
        kind: ``env``, ``file``, or the kind of a secret source.
        path: Kind-specific: a variable name, an absolute path, a vault path …
    """

    kind: str
    path: str


def is_reference(text: str) -> bool:
    """Whether the text claims to be a reference (it may still be malformed)."""
    return text.startswith(PREFIX)


def parse_reference(text: str) -> Reference:
    """Read a reference.

    Raises:
        ValueError: It does not have the form ``secretref:<kind>:<path>``.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        message = "is not of the form secretref:<kind>:<path>"
        raise ValueError(message)
    return Reference(kind=match[1], path=match[2])
