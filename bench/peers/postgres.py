"""A PostgreSQL of its own, durable as it comes (``fsync`` and ``synchronous_commit`` on)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bench.model import Bench, Unavailable


@contextmanager
def postgres(bench: Bench, name: str) -> Iterator[str]:
    """A server whose processes run on the servers' core; gives its URL.

    Raises:
        Unavailable: The package that brings PostgreSQL is not installed.
    """
    try:
        from pgserver import get_server  # type: ignore[attr-defined] # it lists no exports
    except ImportError as error:
        raise Unavailable(what="pgserver", hint="pip install pgserver") from error
    before = os.sched_getaffinity(0)
    if bench.server_cpu is not None:
        # The postmaster inherits the mask from here; so do all its backends.
        os.sched_setaffinity(0, {bench.server_cpu})
    try:
        server = get_server(bench.subfolder(f"{name}-postgres"))
    finally:
        os.sched_setaffinity(0, before)
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()
