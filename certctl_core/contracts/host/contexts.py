"""The concrete contexts that plugins get, and simple in-process means for embedding and tests."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog

from certctl_core.contracts.context import Locks, Logger, StateStore, Stored
from certctl_core.contracts.errors import LockBusy
from certctl_core.contracts.http import HttpFactory
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.release import VERSION
from certctl_core.values import dataclass

MAX_STATE_BYTES = 65_536
_STATE_KEY = re.compile(r"[A-Za-z0-9._-]{1,128}")


def product() -> str:
    """Name and version of this product, as ``User-Agent`` shows them."""
    return f"certctl/{VERSION}"


def plugin_logger(kind: str, instance_id: str) -> Logger:
    """The log of one instance."""
    logger: Logger = structlog.get_logger("certctl.plugins").bind(
        plugin=kind, instance_id=instance_id
    )
    return logger


@dataclass(frozen=True, slots=True, kw_only=True)
class HostContext:
    """The context of an issuer, notifier or any other configured instance.

    Serves as ``PluginContext``, ``IssuerContext`` and ``NotifierContext``.
    """

    instance_id: str
    http: HttpFactory
    clock: Clock
    log: Logger
    state: StateStore
    lock: Locks
    product: str
    public_url: str = ""


def check_state_key(key: str) -> None:
    """Refuse a key that a state store does not take.

    Raises:
        ValueError: It is not 1 to 128 of ``[A-Za-z0-9._-]``.
    """
    if not _STATE_KEY.fullmatch(key):
        message = "a state key is 1 to 128 of A-Z a-z 0-9 . _ -"
        raise ValueError(message)


def check_state_value(value: bytes) -> None:
    """Refuse a value that a state store does not take.

    Raises:
        ValueError: It is over 64 KiB.
    """
    if len(value) > MAX_STATE_BYTES:
        message = f"a state value is at most {MAX_STATE_BYTES} bytes"
        raise ValueError(message)


class MemoryState:
    """A ``StateStore`` that lives as long as the process."""

    def __init__(self) -> None:
        self._values: dict[str, Stored] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> Stored | None:
        """Read a value, or None."""
        check_state_key(key)
        with self._lock:
            return self._values.get(key)

    def put(self, key: str, value: bytes) -> int:
        """Write a value whatever was there; returns its new version."""
        check_state_key(key)
        check_state_value(value)
        with self._lock:
            old = self._values.get(key)
            version = 1 if old is None else old.version + 1
            self._values[key] = Stored(value=value, version=version)
            return version

    def compare_and_set(self, key: str, value: bytes, *, version: int | None) -> bool:
        """Write only if the stored version is ``version`` (None: only if absent)."""
        check_state_key(key)
        check_state_value(value)
        with self._lock:
            old = self._values.get(key)
            if (old.version if old else None) != version:
                return False
            self._values[key] = Stored(value=value, version=(version or 0) + 1)
            return True

    def delete(self, key: str) -> None:
        """Remove a value; absent is fine."""
        check_state_key(key)
        with self._lock:
            self._values.pop(key, None)


class ProcessLocks:
    """``Locks`` within one process: for embedding without replicas."""

    def __init__(self) -> None:
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    @contextmanager
    def __call__(
        self, name: str, ttl: timedelta, *, wait: timedelta = timedelta()
    ) -> Iterator[None]:
        """Hold the lock inside ``with``; ``ttl`` plays no part, the process is the lease."""
        del ttl
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        if not lock.acquire(timeout=max(0.0, wait.total_seconds())):
            raise LockBusy(lock=name)
        try:
            yield
        finally:
            lock.release()
