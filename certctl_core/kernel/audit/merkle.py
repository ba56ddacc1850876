"""The Merkle tree of RFC 6962 §2.1, as pure functions.

A node is named by (level, index): the root of the leaves ``[index·2^level, (index+1)·2^level)``.
Hashes are 32 bytes of SHA-256.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence

from certctl_core.values import dataclass

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves (RFC 6962 §2.1)."""


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 ‖ leaf)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A complete subtree."""

    level: int
    index: int
    hash: bytes


class Frontier:
    """The right edge of a growing tree: at most one complete subtree of each size."""

    __slots__ = ("_nodes", "size")

    def __init__(self) -> None:
        self.size = 0
        self._nodes: list[tuple[int, bytes]] = []

    def copy(self) -> Frontier:
        """An independent copy."""
        other = Frontier()
        other.size = self.size
        other._nodes = self._nodes.copy()
        return other

    def append(self, value: bytes, level: int = 0) -> list[Node]:
        """Add a leaf hash, or the root of a complete subtree of 2^level leaves.

        Returns:
            The subtrees that this completes, smallest first, the added one included.

        Raises:
            ValueError: A subtree of that size cannot begin here.
        """
        if self.size % (1 << level):
            message = f"no subtree of 2^{level} leaves begins at leaf {self.size}"
            raise ValueError(message)
        self.size += 1 << level
        done = [Node(level=level, index=(self.size >> level) - 1, hash=value)]
        while self._nodes and self._nodes[-1][0] == level:
            value = node_hash(self._nodes.pop()[1], value)
            level += 1
            done.append(Node(level=level, index=(self.size >> level) - 1, hash=value))
        self._nodes.append((level, value))
        return done

    def root(self) -> bytes:
        """The Merkle tree hash of everything added so far."""
        return fold([value for _, value in self._nodes])


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over subtrees of falling size, left to right."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def complete(hashes: Sequence[bytes]) -> bytes:
    """The root over 2^n subtrees of one size."""
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
    return row[0]


def decompose(low: int, high: int) -> Iterator[tuple[int, int]]:
    """The fewest complete subtrees (level, index) that cover the leaves [low, high) in order."""
    while low < high:
        level = (high - low).bit_length() - 1
        if low:
            level = min(level, (low & -low).bit_length() - 1)
        yield level, low >> level
        low += 1 << level


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """The leaf ranges whose roots form the audit path, from the leaf upwards (RFC 6962 §2.1.1)."""
    path: list[tuple[int, int]] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append((middle, high))
            high = middle
        else:
            path.append((low, middle))
            low = middle
    return path[::-1]


def consistency_ranges(first: int, second: int) -> list[tuple[int, int]]:
    """The leaf ranges whose roots form the consistency proof (RFC 6962 §2.1.2)."""
    proof: list[tuple[int, int]] = []
    low, high, whole = 0, second, True
    while first != high:
        middle = low + _split(high - low)
        if first <= middle:
            proof.append((middle, high))
            high = middle
        else:
            proof.append((low, middle))
            low, whole = middle, False
    if not whole:
        proof.append((low, high))
    return proof[::-1]


def range_root(low: int, high: int, read: Callable[[int, int], bytes]) -> bytes:
    """The root of the leaves [low, high); ``read(level, index)`` gives complete subtrees."""
    return fold([read(level, index) for level, index in decompose(low, high)])


def root_of_inclusion(value: bytes, *, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that an audit path leads to (RFC 9162 §2.1.3.2).

    Raises:
        ValueError: The path has a wrong length, or the index is outside the tree.
    """
    if not 0 <= index < size:
        message = "the leaf is outside the tree"
        raise ValueError(message)
    place, last = index, size - 1
    root = value
    for item in proof:
        if last == 0:
            message = "the path is too long"
            raise ValueError(message)
        if place & 1 or place == last:
            root = node_hash(item, root)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            root = node_hash(root, item)
        place, last = place >> 1, last >> 1
    if last:
        message = "the path is too short"
        raise ValueError(message)
    return root


def is_consistent(
    *, first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the tree of ``first`` leaves is a prefix of that of ``second`` (RFC 9162 §2.1.4.2)."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and hmac.compare_digest(first_root, second_root)
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = path[0]
    for item in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(item, old), node_hash(item, new)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, item)
        place, last = place >> 1, last >> 1
    return (
        last == 0 and hmac.compare_digest(old, first_root) and hmac.compare_digest(new, second_root)
    )


def _split(size: int) -> int:
    """The largest power of two smaller than ``size`` (≥ 2)."""
    return 1 << ((size - 1).bit_length() - 1)
