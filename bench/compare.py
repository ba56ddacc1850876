"""Compare certctl with its peers: ``bench/compare.py run --ops issue,ocsp-post | gate``.

``run`` measures and writes a result file; ``gate`` reads it and fails below a floor.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.gate import check, load_floors, report
from bench.harness import Result, measure
from bench.machine import describe
from bench.model import Bench, Broken, Unavailable
from bench.ops.catalogue import operations

_HERE = Path(__file__).resolve().parent
_DEFAULT_RESULT = _HERE / "results" / "latest.json"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 is good, 1 below a floor, 2 not measured."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except (Broken, Unavailable, FileNotFoundError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/compare.py", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="measure, print ratios, write the result file")
    run.add_argument("--ops", default="all", help="comma-separated; see 'list' (default: all)")
    run.add_argument("--rounds", type=int, default=5)
    run.add_argument("--seconds", type=float, help="length of a round")
    run.add_argument("--rows", type=int, default=1_000_000, help="size of the inventory")
    run.add_argument("--peers", type=Path, default=Path("/opt/bench-peers"), metavar="DIR")
    run.add_argument("--cache", type=Path, default=_HERE / "cache", metavar="DIR")
    run.add_argument("--out", type=Path, default=_DEFAULT_RESULT)
    run.add_argument("--unpinned", action="store_true", help="let everything run on every core")
    run.set_defaults(command=_run)
    gate = commands.add_parser("gate", help="compare the result file with the floors")
    gate.add_argument("--result", type=Path, default=_DEFAULT_RESULT)
    gate.add_argument("--floors", type=Path, default=_HERE / "floors.toml")
    gate.add_argument("--require-peers", action="store_true", help="a skipped peer fails too")
    gate.set_defaults(command=_gate)
    listing = commands.add_parser("list", help="name the operations and their peers")
    listing.set_defaults(command=_list)
    return parser


def _run(options: argparse.Namespace) -> int:
    known = {operation.id: operation for operation in operations()}
    wanted = list(known) if options.ops == "all" else options.ops.split(",")
    if unknown := [name for name in wanted if name not in known]:
        raise Broken(
            what=", ".join(unknown), why=f"no such operation; there are {', '.join(known)}"
        )
    results: list[Result] = []
    for name in wanted:
        print(f"{name}: {known[name].title}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="certctl-bench-") as folder:
            bench = Bench(
                folder=Path(folder),
                peers=options.peers,
                cache=options.cache,
                rows=options.rows,
                server_cpu=None if options.unpinned else 0,
                client_cpu=None if options.unpinned else 1,
            )
            results.append(
                measure(
                    known[name],
                    bench,
                    rounds=options.rounds,
                    seconds=options.seconds,
                    say=lambda line: print(line, file=sys.stderr),
                )
            )
    kept = _merged(options.out, results, pinned=not options.unpinned, rounds=options.rounds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"format": 1, "operations": kept}, indent=2) + "\n")
    print(report({name: kept[name] for name in wanted}))
    return 0


def _merged(path: Path, results: list[Result], *, pinned: bool, rounds: int) -> dict[str, Any]:
    """The operations of the result file with these replaced and the others kept."""
    before = json.loads(path.read_text()) if path.exists() else {}
    kept = dict(before.get("operations", {}))
    machine = {**describe(), "pinned": pinned, "rounds": rounds}
    for result in results:
        kept[result.operation.id] = {**result.document(), "machine": machine}
    return kept


def _gate(options: argparse.Namespace) -> int:
    document = json.loads(options.result.read_text())
    verdicts = check(
        document["operations"],
        load_floors(options.floors),
        require_peers=options.require_peers,
    )
    for verdict in verdicts:
        print(verdict.line())
    return 1 if any(verdict.is_failure for verdict in verdicts) else 0


def _list(_options: argparse.Namespace) -> int:
    for operation in operations():
        peers = ", ".join(peer.name for peer in operation.peers)
        print(f"{operation.id:12} row {operation.row:3} {operation.title} (peers: {peers})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
