"""A notifier that appends each message as one line of JSON to a file."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from typing_extensions import override

from certctl_core.contracts.errors import UpstreamUnavailable
from certctl_core.contracts.notifiers import (
    AlertState,
    Check,
    CheckReport,
    Delivered,
    Message,
    NCap,
    Notifier,
)
from certctl_core.contracts.options import AbsPath, PluginConfig, option
from certctl_core.contracts.plugin import hookimpl


class ExampleFileConfig(PluginConfig):
    """What the operator can set."""

    path: AbsPath = option(
        title="File",
        help="Each message is appended to it as one line of JSON; made with mode 0600.",
        example="/var/log/certctl/messages.jsonl",
    )


class ExampleFile(Notifier):
    """Writes messages where a log shipper finds them."""

    kind = "example-file"
    title = "Example file"
    api_version = 1
    summary = "Appends messages to a file, to show how a notifier plugin is written."
    Config = ExampleFileConfig
    capabilities = frozenset({NCap.RESOLVE})
    config: ExampleFileConfig

    @override
    def test(self, *, send: bool) -> CheckReport:
        """Look whether the file can be written; write a test line only if asked to."""
        folder = Path(self.config.path).parent
        ok = folder.is_dir() and os.access(folder, os.W_OK)
        checks = [
            Check(
                name="directory",
                ok=ok,
                detail="is writable" if ok else "is not there or not writable",
                hint=f"Make the directory {folder} and let certctl write to it.",
            )
        ]
        if ok and send:
            now = self.ctx.clock.now()
            message = Message(
                id="test",
                delivery_id="test",
                event="test",
                title="Test message from certctl",
                occurred_at=now,
                test=True,
            )
            self.send(message)
            checks.append(Check(name="delivery", ok=True, detail="a test line was written"))
        return CheckReport.of(checks)

    @override
    def send(self, msg: Message) -> Delivered:
        """Append one line."""
        line = json.dumps(
            {
                "id": msg.id,
                "event": msg.event,
                "severity": msg.severity,
                "state": msg.state,
                "title": msg.title,
                "text": msg.text,
                "certificate_id": msg.certificate.id if msg.certificate else None,
                "dedup_key": msg.dedup_key,
                "occurred_at": msg.occurred_at.isoformat(),
                "test": msg.test,
            }
        )
        try:
            handle = os.open(self.config.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "ab", buffering=0) as file:
                file.write(f"{line}\n".encode())
        except OSError as error:
            # Typed as temporary: the core tries again later.
            raise UpstreamUnavailable(reason=f"{self.config.path}: {error.strerror}") from None
        return Delivered()

    @override
    def resolve(self, dedup_key: str, msg: Message) -> Delivered:
        """Append a line that says the matter is over."""
        return self.send(replace(msg, dedup_key=dedup_key, state=AlertState.RESOLVED))


@hookimpl
def certctl_notifiers() -> list[type[Notifier]]:
    """Offer the example notifier."""
    return [ExampleFile]
