"""Run by a test in a process of its own: an issuance that ends in the middle of one step.

Arguments: database URL, data directory, step, common name. The keyring comes from the environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from certctl_core.app import Core
from certctl_core.kernel.actors import SYSTEM
from certctl_core.kernel.config import Settings
from certctl_core.testing.factories import make_csr

DIED = 86
"""The exit code of a death on purpose."""


def _dies(run: Callable[..., Any] | None = None) -> Callable[..., Any]:
    def instead(*arguments: Any, **named: Any) -> Any:
        if run is not None:
            run(*arguments, **named)
        os._exit(DIED)

    return instead


def arm(core: Core, step: str) -> None:
    """Put the death into the way of one step (numbers: the docstring of the workflow)."""
    workflow: Any = core.rooms.issuance
    match step:
        case "while recording (3)":
            workflow._decisions.gate = _dies()
        case "recorded (3)":
            workflow._issuers.submit = _dies()
        case "signed (4)":
            workflow._issuers.submit = _dies(workflow._issuers.submit)
        case "verified (5)":
            workflow._storing.run = _dies()
            workflow._storing_new.run = _dies()
        case "while storing (6)":
            workflow._certificates.add_version = _dies(workflow._certificates.add_version)
            workflow._certificates.add_issued = _dies(workflow._certificates.add_issued)
        case "stored (6)":
            workflow._storing.run = _dies(workflow._storing.run)
            workflow._storing_new.run = _dies(workflow._storing_new.run)
        case _:
            raise ValueError(step)


if __name__ == "__main__":
    url, folder, chosen, name = sys.argv[1:]
    settings = Settings.for_directory(
        Path(folder), database_url=url, config_encryption_keys=os.environ["KEYRING"]
    )
    with Core.open(settings) as opened:
        if chosen.startswith("renewal: "):
            first = opened.issue(make_csr(name))
            arm(opened, chosen.removeprefix("renewal: "))
            opened.rooms.issuance.issue(
                certificate_id=first.certificate.id,
                csr_pem=make_csr(name),
                actor=SYSTEM,
                request_id="",
            )
        elif chosen.startswith("at once: "):
            arm(opened, chosen.removeprefix("at once: "))
            opened.issue(make_csr(name))
        else:
            arm(opened, chosen)
            # As for an issuer that is not in this process.
            opened.rooms.issuance._signs_here = lambda *_args: False  # type: ignore[method-assign]
            opened.issue(make_csr(name))
