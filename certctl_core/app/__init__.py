"""The app floor: composition. ``Core`` is the whole installation as one object."""

from certctl_core.app.core import BootReport, Core, Readiness

__all__ = ["BootReport", "Core", "Readiness"]
