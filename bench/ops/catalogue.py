"""All operations in the order of their rows."""

from __future__ import annotations

from bench.model import Operation
from bench.ops import crl, issue, listing, memory, ocsp, start


def operations() -> tuple[Operation, ...]:
    """Every operation that can be measured."""
    return (
        *issue.OPERATIONS,
        *ocsp.OPERATIONS,
        *crl.OPERATIONS,
        *listing.OPERATIONS,
        *start.OPERATIONS,
        *memory.OPERATIONS,
    )
