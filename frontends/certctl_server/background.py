"""The background worker: loops and jobs, without a listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl_server.channel import Channel, Do, Is
from certctl_server.child import ChildContext, open_core, reload_core

if TYPE_CHECKING:
    from certctl_core.app import Core


def run_background(context: ChildContext, channel: Channel) -> int:
    """Run loops and jobs from ``go`` until the parent says stop, or is gone."""
    with context.metrics():
        core = open_core(context.settings, clock=context.clock, role="background")
        try:
            channel.send(**{"is": Is.READY})
            _obey(context, channel, core)
            core.draining = True
            core.background.stop(context.settings.server.shutdown_timeout)
        finally:
            core.close()
    return 0


def _obey(context: ChildContext, channel: Channel, core: Core) -> None:
    for message in channel.receive():
        match message.get("do"):
            case Do.GO:
                core.background.start()
            case Do.RELOAD:
                is_good = reload_core(context, core, level=message["level"])
                channel.send(**{"is": Is.RELOADED, "good": is_good})
            case Do.STOP:
                return
            case _:
                continue
