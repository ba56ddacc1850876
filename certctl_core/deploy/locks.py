"""Locks between deployments of this host, free again when their holder dies (spec 07 DEP-04)."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path

from certctl_core.deploy.errors import TargetBusy
from certctl_core.deploy.files import private_directory
from certctl_core.kernel.clock import Clock

_POLL_SECONDS = 0.1


class Locks:
    """File locks in one directory.

    Args:
        directory: Where their files lie; they stay there.
        clock: For the waiting time.
        sleep: Waits some seconds.
    """

    def __init__(self, directory: Path, clock: Clock, sleep: Callable[[float], None]) -> None:
        self._directory = directory
        self._clock = clock
        self._sleep = sleep

    @contextlib.contextmanager
    def hold(self, target_id: str, paths: Iterable[str], wait: timedelta) -> Iterator[None]:
        """Hold the lock of a target and those of resolved paths while inside ``with``.

        Raises:
            TargetBusy: Somebody else held one of them all the while.
        """
        with self._all([f"target-{target_id}", *_names(paths)], wait):
            yield

    @contextlib.contextmanager
    def hold_paths(self, paths: Iterable[str], wait: timedelta) -> Iterator[None]:
        """Hold further path locks while inside ``with``; none of them may be held already.

        Raises:
            TargetBusy: Somebody else held one of them all the while.
        """
        with self._all(_names(paths), wait):
            yield

    @contextlib.contextmanager
    def _all(self, names: Iterable[str], wait: timedelta) -> Iterator[None]:
        end = self._clock.monotonic() + wait.total_seconds()
        with contextlib.ExitStack() as held:
            # One order for all: two deployments never wait for each other in a ring.
            for name in names:
                held.enter_context(self._one(name, end))
            yield

    @contextlib.contextmanager
    def _one(self, name: str, end: float) -> Iterator[None]:
        path = private_directory(self._directory) / f"{name}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if self._clock.monotonic() >= end:
                        raise TargetBusy from None
                self._sleep(_POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)


def _names(paths: Iterable[str]) -> list[str]:
    return sorted({f"path-{hashlib.sha256(path.encode()).hexdigest()}" for path in paths})
