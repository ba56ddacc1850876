"""Reading published lists of weak keys, to send them on in batches."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import click

MARKS = {"spki-sha256": 32, "openssl-blacklist": 10, "badkeys": 15}
"""Bytes of a digest in each kind of list."""
_RECORD = 16
"""A record of the badkeys list: a digest, and one byte for where the key was found."""
_BATCH_BYTES = 120_000


def read_list(path: Path, mark: str | None) -> tuple[str, list[bytes]]:
    """Read a list: text of one hexadecimal digest a line, or the binary ``blocklist.dat``.

    Args:
        path: The file.
        mark: What kind of list it is; None tells it from the file.

    Returns:
        The kind, and the digests, sorted and each of them once.

    Raises:
        click.BadParameter: The file is no such list.
    """
    data = path.read_bytes()
    if b"\n" in data[:200] and data[:200].isascii() and mark != "badkeys":
        return _from_text(path, data, mark)
    if mark in {None, "badkeys"} and data and len(data) % _RECORD == 0:
        return "badkeys", sorted(
            {data[at : at + MARKS["badkeys"]] for at in range(0, len(data), _RECORD)}
        )
    message = f"{path} is neither a list of hexadecimal digests nor a badkeys blocklist"
    raise click.BadParameter(message, param_hint="FILE")


def _from_text(path: Path, data: bytes, mark: str | None) -> tuple[str, list[bytes]]:
    digests: set[bytes] = set()
    size = None if mark is None else MARKS[mark]
    for number, line in enumerate(data.splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith(b"#"):
            continue
        try:
            digest = bytes.fromhex(text.decode("ascii"))
        except ValueError as error:
            raise _bad_line(path, number, "is no hexadecimal digest") from error
        size = size or len(digest)
        if len(digest) != size or size not in MARKS.values():
            known = " or ".join(
                str(2 * MARKS[name]) for name in ("openssl-blacklist", "spki-sha256")
            )
            digits = f"has {2 * len(digest)} digits instead of {known}, the same in each line"
            raise _bad_line(path, number, digits)
        digests.add(digest)
    if not digests:
        message = f"{path} holds no digest"
        raise click.BadParameter(message, param_hint="FILE")
    kinds = {size: name for name, size in MARKS.items()}
    return mark or kinds[size or 0], sorted(digests)


def _bad_line(path: Path, number: int, what: str) -> click.BadParameter:
    return click.BadParameter(f"line {number} of {path} {what}", param_hint="FILE")


def batches(digests: Iterable[bytes], mark: str) -> Iterator[tuple[int, str]]:
    """The digests in parts that a request may hold: how many, and base64."""
    rest = iter(digests)
    while some := list(islice(rest, _BATCH_BYTES // MARKS[mark])):
        yield len(some), base64.b64encode(b"".join(some)).decode()
