"""A program that is killed: it issues again and again, and dies one step later each time.

Run as a program with a JSON document of settings. The steps are every statement that reaches the
database, both sides of every commit, and both sides of the call to the issuer. It prints how many
steps an undisturbed run has.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event

from certctl_core.app import Core
from certctl_core.kernel.config import Settings
from certctl_core.testing.factories import make_csr
from certctl_core.testing.fakes import FakeClock


class Steps:
    """Counts steps, and kills the process at one of them."""

    def __init__(self, last: int) -> None:
        self._last = last
        self.count = 0

    def step(self, *_: object, **__: object) -> None:
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: object, **kwargs: object) -> object:
            self.step()
            result = call(*args, **kwargs)
            self.step()
            return result

        return wrapped

    def watch(self, core: Core) -> None:
        for engine in (core.database.writer, core.database._reader):
            event.listen(engine, "before_cursor_execute", self.step)
            dialect: Any = engine.dialect
            dialect.do_commit = self.around(dialect.do_commit)
        issuers: Any = core.rooms.issuers
        issuers.submit = self.around(issuers.submit)


def run(settings: Settings, flow: str, last: int, folder: Path) -> int:
    """Issue once in this process; gives the number of steps."""
    with Core.open(settings, clock=FakeClock(), migrate=False) as core:
        csr = make_csr(f"w{last}.example.test")
        certificate_id = ""
        if flow == "renew":
            certificate_id = core.issue(make_csr(f"w{last}.example.test")).certificate.id
        (folder / f"{last}.csr").write_text(csr)
        if flow == "issue":  # as for any issuer that is not in this process
            core.rooms.issuance._signs_here = lambda *_args: False  # type: ignore[method-assign]
        steps = Steps(last)
        steps.watch(core)
        if flow == "renew":
            path = {"certificate_id": certificate_id}
            core.call("certificates.renew", path=path, body={"csr_pem": csr})
        else:
            core.issue(csr)
        return steps.count


def main() -> None:
    given = json.loads(sys.argv[1])
    flow, folder = given.pop("flow"), Path(given.pop("folder"))
    settings = Settings.for_directory(given.pop("data_dir"), **given)
    last = 0
    while True:
        last += 1
        child = os.fork()  # nothing is open yet
        if child == 0:
            status = 1
            try:
                status = 0 if run(settings, flow, last, folder) < last else 2
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        if os.WIFEXITED(ended):
            code = os.WEXITSTATUS(ended)
            if code:
                sys.exit(code)
            sys.stdout.write(f"{last - 1}\n")
            return


if __name__ == "__main__":
    main()
