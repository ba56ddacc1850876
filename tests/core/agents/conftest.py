"""The fleet of a fresh installation."""

from __future__ import annotations

from tests.core.agents.fleet import fleet

__all__ = ["fleet"]
