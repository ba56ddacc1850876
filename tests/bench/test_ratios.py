"""The arithmetic of the benchmarks: interleaving, ratios, floors. Nothing is timed here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from bench.compare import main
from bench.gate import check, load_floors, report
from bench.harness import measure, ratio
from bench.model import Bench, Better, Broken, Contender, Measure, Operation, Reading, Unavailable
from bench.ops.catalogue import operations

FLOORS = Path(__file__).parents[2] / "bench" / "floors.toml"


def _contender(name: str, values: list[float], order: list[str]) -> Contender:
    @contextmanager
    def start(_bench: Bench) -> Iterator[Measure]:
        left = iter([0.0, *values])  # the first one is the warm-up

        def measure_once(_seconds: float) -> Reading:
            order.append(name)
            return Reading(value=next(left))

        yield measure_once

    return Contender(name=name, start=start)


def _missing(name: str) -> Contender:
    def start(_bench: Bench) -> AbstractContextManager[Measure]:
        raise Unavailable(what=name, hint="somewhere")

    return Contender(name=name, start=start)


def _operation(ours: Contender, *peers: Contender, better: Better = Better.HIGHER) -> Operation:
    return Operation(
        id="op", row="0", title="an operation", unit="/s", better=better, ours=ours, peers=peers
    )


def _bench(folder: Path) -> Bench:
    return Bench(
        folder=folder, peers=folder, cache=folder, rows=1, server_cpu=None, client_cpu=None
    )


def _say(_line: str) -> None:
    pass


def test_rounds_are_interleaved(tmp_path: Path) -> None:
    order: list[str] = []
    operation = _operation(_contender("a", [1, 1], order), _contender("b", [1, 1], order))

    measure(operation, _bench(tmp_path), rounds=2, seconds=1, say=_say)

    assert order == ["a", "b", "a", "b", "a", "b"]


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    ours = [Reading(value=value) for value in (10.0, 30.0, 20.0)]
    peer = [Reading(value=value) for value in (10.0, 10.0, 10.0)]

    found = ratio(ours, peer, Better.HIGHER)

    assert (found.low, found.value, found.high) == (1.0, 2.0, 3.0)


def test_a_shorter_time_is_a_ratio_above_one() -> None:
    found = ratio([Reading(value=2.0)], [Reading(value=8.0)], Better.LOWER)

    assert found.value == 4.0


def test_a_missing_peer_is_skipped_and_never_a_pass(tmp_path: Path) -> None:
    operation = _operation(_contender("a", [5.0], []), _missing("peer"))

    document = measure(operation, _bench(tmp_path), rounds=1, seconds=1, say=_say).document()
    (lenient,) = check({"op": document}, {"op": {"peer": 1.0}})
    (strict,) = check({"op": document}, {"op": {"peer": 1.0}}, require_peers=True)

    assert not lenient.is_failure
    assert lenient.line() == ("skip  op against peer: skipped: peer is not installed (somewhere)")
    assert strict.is_failure
    assert "skipped: peer is not installed" in report({"op": document})


def test_a_product_that_was_not_measured_fails(tmp_path: Path) -> None:
    operation = _operation(_missing("certctl"), _contender("peer", [5.0], []))
    document = measure(operation, _bench(tmp_path), rounds=1, seconds=1, say=_say).document()

    (verdict,) = check({"op": document}, {"op": {"peer": 0.1}})

    assert verdict.is_failure


def test_errors_in_a_round_end_the_run(tmp_path: Path) -> None:
    @contextmanager
    def start(_bench: Bench) -> Iterator[Measure]:
        def fail(_seconds: float) -> Reading:
            raise Broken(what="load", why="Non-2xx responses: 3")

        yield fail

    operation = _operation(Contender(name="certctl", start=start))

    with pytest.raises(Broken, match="op, certctl: load: Non-2xx responses: 3"):
        measure(operation, _bench(tmp_path), rounds=1, seconds=1, say=_say)


@pytest.mark.parametrize(("value", "code"), [(0.9, 1), (1.1, 0)])
def test_the_gate_fails_below_a_floor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float, code: int
) -> None:
    operation = _operation(_contender("certctl", [value], []), _contender("peer", [1.0], []))
    document = measure(operation, _bench(tmp_path), rounds=1, seconds=1, say=_say).document()
    result = tmp_path / "result.json"
    result.write_text(json.dumps({"operations": {"op": document}}))
    floors = tmp_path / "floors.toml"
    floors.write_text('[op]\n"peer" = 1.0\n')

    assert main(["gate", "--result", str(result), "--floors", str(floors)]) == code

    word = "FAIL" if code else "pass"
    assert capsys.readouterr().out == f"{word}  op against peer: {value:.2f}x (floor 1x)\n"


def test_every_floor_belongs_to_a_peer_that_is_measured() -> None:
    known = {operation.id: {peer.name for peer in operation.peers} for operation in operations()}

    for operation, peers in load_floors(FLOORS).items():
        assert set(peers) <= known[operation]
