"""Floors: what a change must not fall below."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One operation against one peer.

    Attributes:
        ratio: None when it was not measured.
        why: The reason for a missing ratio.
    """

    operation: str
    peer: str
    floor: float
    ratio: float | None
    why: str = ""
    is_failure: bool

    def line(self) -> str:
        """As ``gate`` prints it."""
        what = f"{self.operation} against {self.peer}"
        if self.ratio is None:
            return f"{'FAIL' if self.is_failure else 'skip'}  {what}: skipped: {self.why}"
        word = "FAIL" if self.is_failure else "pass"
        return f"{word}  {what}: {self.ratio:.2f}x (floor {self.floor:g}x)"


def load_floors(path: Path) -> dict[str, dict[str, float]]:
    """Operation id → peer name → least ratio."""
    text = tomllib.loads(path.read_text())
    return {
        operation: {peer: float(value) for peer, value in peers.items()}
        for operation, peers in text.items()
    }


def check(
    results: Mapping[str, Any],
    floors: Mapping[str, Mapping[str, float]],
    *,
    require_peers: bool = False,
) -> list[Verdict]:
    """Hold every measured operation against its floors.

    A peer that was skipped is never a pass: it is reported, and fails where peers are required. An
    operation of ours that was skipped always fails.
    """
    verdicts: list[Verdict] = []
    for operation, document in results.items():
        for peer, floor in floors.get(operation, {}).items():
            found = next((one for one in document["peers"] if one["name"] == peer), None)
            ratio, why, is_failure = _judge(
                document["ours"], found, floor, require_peers=require_peers
            )
            verdicts.append(
                Verdict(
                    operation=operation,
                    peer=peer,
                    floor=floor,
                    ratio=ratio,
                    why=why,
                    is_failure=is_failure,
                )
            )
    return verdicts


def _judge(
    ours: Mapping[str, Any],
    found: Mapping[str, Any] | None,
    floor: float,
    *,
    require_peers: bool,
) -> tuple[float | None, str, bool]:
    """The ratio, or why there is none, and whether that is a failure."""
    if ours.get("skipped"):
        return None, f"{ours['name']} was not measured: {ours['skipped']}", True
    if found is None:
        return None, "the result file does not name it", True
    if found["ratio"] is None:
        return None, str(found["skipped"]), require_peers
    ratio = float(found["ratio"]["value"])
    return ratio, "", ratio < floor


def report(results: Mapping[str, Any]) -> str:
    """A Markdown table of operations and ratios."""
    lines = [
        "| Row | Operation | certctl | Peer | Its figure | Ratio (worst … best round) |",
        "|---|---|---|---|---|---|",
    ]
    for document in results.values():
        ours = document["ours"]
        own = _figure(ours, document["unit"])
        for peer in document["peers"]:
            found = peer["ratio"]
            text = "skipped: " + peer.get("skipped", ours.get("skipped", ""))
            if found is not None:
                text = f"**{found['value']:.2f}x** ({found['low']:.2f} … {found['high']:.2f})"
            theirs = _figure(peer, document["unit"])
            lines.append(
                f"| {document['row']} | {document['title']} | {own} | {peer['name']} "
                f"| {theirs} | {text} |"
            )
    return "\n".join(lines)


def _figure(series: Mapping[str, Any], unit: str) -> str:
    if series.get("skipped"):
        return "-"
    value = float(series["median"])
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    notes = series.get("notes", {})
    p50 = f", p50 {notes['p50_ms']:.2g} ms" if "p50_ms" in notes else ""
    p99 = f", p99 {notes['p99_ms']:.2g} ms" if "p99_ms" in notes else ""
    cpu = f", {notes['cpu_ms']:,.0f} ms of CPU" if "cpu_ms" in notes else ""
    return f"{shown} {unit}{p50}{p99}{cpu}"
