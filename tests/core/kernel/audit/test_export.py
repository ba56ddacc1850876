"""Exports, and checking them without the server."""

from __future__ import annotations

import base64
import csv
import io
import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certctl_core.kernel.audit import (
    AuditQuery,
    BadExport,
    BadNote,
    NoteSigner,
    export,
    verify_export,
)
from certctl_core.kernel.audit.errors import BadTimeRange
from certctl_core.kernel.audit.schemas import ExportQuery
from certctl_core.kernel.events import Category
from tests.core.kernel.audit.conftest import OPERATOR, LanternLit, LanternRuled

DAY = timedelta(days=1)


@pytest.fixture
def three_days(audit, units, clock):
    """Three days with 350 events each, every seventh of another category."""
    start = clock.now()
    for _ in range(3):
        with units.begin(OPERATOR) as uow:
            for number in range(350):
                kind = LanternRuled if number % 7 == 0 else LanternLit
                uow.emit(kind(resource_id=f"lan-{number}"))
        audit.seal(units)
        clock.advance(DAY)
    return start


@pytest.fixture
def take(audit, units):
    def run(start, end, **values):
        query = ExportQuery.model_validate({"from": start, "to": end, **values})
        return export(audit, units, query, actor=OPERATOR, request_id="req-x")

    return run


def check(file, audit, **values):
    return verify_export(
        file.content.splitlines(), values.pop("checkpoint", None), audit.vkey, **values
    )


@pytest.mark.spec("05/AUD-26")
def test_a_whole_export_verifies_offline(audit, take, three_days):
    file = take(three_days, three_days + 3 * DAY)
    report = check(file, audit)
    assert (report.rows, report.first_seq, report.last_seq, report.tree_size) == (
        1050,
        0,
        1049,
        1050,
    )
    assert file.media_type == "application/x-ndjson"
    assert file.filename == "certctl-audit-20260115T120000Z_to_20260118T120000Z.ndjson"


def test_a_part_by_time_verifies(audit, take, three_days):
    report = check(take(three_days + DAY, three_days + 2 * DAY), audit)
    assert (report.rows, report.first_seq, report.last_seq, report.tree_size) == (
        350,
        350,
        699,
        1050,
    )


def test_a_part_by_category_verifies_and_shows_nothing_else(audit, take, three_days):
    file = take(three_days, three_days + 3 * DAY, category="config")
    assert check(file, audit).rows == 150
    assert b"test_lantern.lit" not in file.content


def test_the_limit_is_marked_and_the_rest_still_verifies(audit, take, three_days):
    file = take(three_days, three_days + 3 * DAY, limit=400)
    report = check(file, audit)
    assert (report.rows, report.is_truncated, report.last_seq) == (400, True, 399)
    trailer = json.loads(file.content.splitlines()[-1])["_trailer"]
    assert (trailer["rows"], trailer["truncated"]) == (400, True)


def test_an_export_is_audited(audit, units, take, three_days):
    take(three_days, three_days + DAY, category="config")
    with units.read() as uow:
        (row,) = audit.list(uow, AuditQuery(action="audit.exported")).data
    assert (row.actor, row.request_id) == ("ak-operator", "req-x")
    assert (row.details["rows"], row.details["event_category"]) == (50, "config")


def test_nothing_in_range_gives_an_export_that_verifies(audit, take, three_days):
    assert check(take(three_days + 9 * DAY, three_days + 10 * DAY), audit).rows == 0


def test_csv_has_a_header_and_no_formulas(audit, units, take, clock):
    with units.begin(OPERATOR) as uow:
        uow.emit(LanternLit(resource_id="=1+1"))
    audit.seal(units)
    file = take(clock.now() - DAY, clock.now() + DAY, format="csv")
    header, row, trailer = csv.reader(io.StringIO(file.content.decode()))
    assert header[:3] == ["seq", "id", "timestamp"]
    assert row[header.index("resource_id")] == "'=1+1"
    assert "rows=1" in trailer[0]
    assert file.filename.endswith(".csv")


@pytest.mark.parametrize("days", [0, -1, 91])
def test_ranges_are_limited(take, clock, days):
    with pytest.raises(BadTimeRange):
        take(clock.now(), clock.now() + days * DAY)


def _altered(lines, change):
    events = [place for place, line in enumerate(lines) if b'"seq"' in line]
    gaps = [place for place, line in enumerate(lines) if b'"_gap"' in line]
    match change:
        case "event":
            lines[events[5]] = lines[events[5]].replace(b"ak-operator", b"ak-attacker")
        case "dropped":
            del lines[events[5]]
        case "swapped":
            first, second = events[5], events[6]
            lines[first], lines[second] = lines[second], lines[first]
        case "cut":
            del lines[-1]
        case "added_member":
            lines[events[5]] = lines[events[5]].replace(b'{"act', b'{"zzz":1,"act', 1)
        case "gap":
            found = json.loads(lines[gaps[0]])
            found["_gap"]["hashes"][0] = base64.b64encode(bytes(32)).decode()
            lines[gaps[0]] = json.dumps(found).encode()
        case _:
            lines[events[5]] = b"{"
    return lines


@pytest.mark.spec("05/AUD-26")
@pytest.mark.parametrize("database_engine", ["sqlite"])
@pytest.mark.parametrize(
    "change", ["event", "dropped", "swapped", "cut", "added_member", "gap", "not_json"]
)
def test_altered_exports_are_refused(audit, take, three_days, change):
    file = take(three_days + DAY, three_days + 2 * DAY, category=Category.CERT_LIFECYCLE)
    lines = _altered(file.content.splitlines(), change)
    with pytest.raises(BadExport):
        verify_export(lines, None, audit.vkey)


@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_another_key_is_refused(take, three_days):
    stranger = NoteSigner("certctl/test", Ed25519PrivateKey.generate()).verifier
    file = take(three_days, three_days + DAY)
    with pytest.raises(BadNote):
        verify_export(file.content.splitlines(), None, stranger.vkey)


@pytest.mark.spec("05/AUD-26")
def test_a_checkpoint_kept_outside_joins_the_export_by_a_consistency_proof(
    audit, units, take, three_days
):
    with units.read() as uow:
        kept = audit.checkpoint(uow)
    with units.begin(OPERATOR) as uow:
        uow.emit(LanternLit(resource_id="lan-new"))
    audit.seal(units)
    file = take(three_days, three_days + DAY)
    with pytest.raises(BadExport, match="consistency"):
        check(file, audit, checkpoint=kept.note)
    with units.read() as uow:
        proof = audit.consistency(uow, kept.tree_size)
    hashes = [base64.b64decode(value) for value in proof.hashes]
    assert check(file, audit, checkpoint=kept.note, consistency=hashes).rows == 350
    with pytest.raises(BadExport):
        check(file, audit, checkpoint=kept.note, consistency=hashes[:-1])
