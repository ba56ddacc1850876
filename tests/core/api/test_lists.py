"""Lists as bytes (01 API-09 … API-14): what is written in the short way is what the models say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest
import sqlalchemy as sa
from pydantic import TypeAdapter
from pydantic_core import to_json

from certctl_core.api.errors import BadIfMatch
from certctl_core.app import Core
from certctl_core.kernel.actors import ANONYMOUS, SYSTEM, Actor, ActorType
from certctl_core.kernel.db import (
    Database,
    DatabaseUnavailable,
    JSONRows,
    Listing,
    UnitOfWorkFactory,
    UTCDateTime,
    metadata,
)
from certctl_core.kernel.errors import Unauthenticated
from certctl_core.kernel.events import Bus
from certctl_core.kernel.operations import Call, Operation, Page
from certctl_core.lifecycle.profiles.schemas import ProfileQuery
from certctl_core.people.access import PermissionDenied
from certctl_core.people.access.types import ScopeType
from certctl_core.testing.factories import actor_with
from tests.core.api.test_dispatch import send

SHORT = {
    "agents.list": "agents",
    "agents.list_retired": "agents",
    "audit.list": "audit_events",
    "certificates.deployments": "deployments",
    "certificates.list": "managed_certificates",
    "issuer_orders.list": "issuer_orders",
    "jobs.list": "jobs",
    "notification_deliveries.list": "notification_deliveries",
    "notification_routes.list": "notification_routes",
    "notifications.list": "notifications",
    "profiles.list": "certificate_profiles",
    "renewal_policies.list": "renewal_policies",
    "targets.deployments": "deployments",
}
"""The lists whose rows are written without becoming models, and their tables."""

TEXTS = (
    'quoted "x" \\ 100% %s',
    "Zürich \u2028 \U0001f512",
    "tab\tline\nbell\x07\x7f",
    "plain",
    "",
)
TIMES = (
    datetime(2026, 3, 1, tzinfo=UTC),
    datetime(2026, 3, 1, 12, 30, 15, 120000, tzinfo=UTC),
    datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2026, 3, 1, 0, 0, 0, 7, tzinfo=UTC),
)
TEXT_LISTS: tuple[list[str], ...] = ([], ["a, b", "c: d"], ['"', "\\", "é"], ["x"])
OBJECTS: tuple[dict[str, Any], ...] = (
    {},
    {"a": "x, y: z", "ü": [1, 1.50, True, None, {"b": ["c"]}]},
    {"n": 12345678901234567890, "big": 1e20, "small": 0.1},
    {"t": '\u2028"\\'},
)
SHAPES: dict[str, tuple[Any, ...]] = {
    "allowed_key_algorithms": ([{"algorithm": "RSA", "min_size": 2048}], []),
    "capabilities": ({"deploy": ["nginx", "a, b"]}, {}),
    "decision": ([{"rule": "x", "ok": True}], []),
    "labels": ({"site": "a: b, c"}, {}),
    "match": ({}, {"events": ["certificate.issued"]}, {"severities": ["critical"]}),
    "stages": ([{"name": "write", "seconds": 0.5}], []),
    "tags": ({"team": "a, b: c", "é": "\\"}, {}, {"x": "y"}),
}
"""What is in JSON columns whose models are particular about it."""

WORDS = re.compile(r"(\w+) IN \(([^)]*)\)")
RANGES = re.compile(r"(\w+) BETWEEN (\d+) AND")


@pytest.fixture
def crowded(core: Core) -> Core:
    """Rows with values at the edges in every table of ``SHORT``."""
    engine = sa.create_engine(core.units.database.url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        if core.units.database.is_postgres:
            connection.execute(sa.text("SET session_replication_role = replica"))
        for name in sorted({*SHORT.values(), "targets"}):
            connection.execute(sa.insert(metadata.tables[name]), list(odd_rows(name)))
    return core


def odd_rows(name: str) -> Iterator[dict[str, Any]]:
    table = metadata.tables[name]
    checks = [
        str(item.sqltext) for item in table.constraints if isinstance(item, sa.CheckConstraint)
    ]
    words = {
        match[1]: re.findall(r"'([^']*)'", match[2])
        for check in checks
        for match in WORDS.finditer(check)
    }
    least = {match[1]: int(match[2]) for check in checks for match in RANGES.finditer(check)}
    for number in range(7 if name in SHORT.values() else 1):
        row: dict[str, Any] = {}
        for place, column in enumerate(table.columns):
            at = number + place
            if column.nullable and at % 3 == 0 and not column.primary_key:
                row[column.name] = None
            elif column.name in words:
                row[column.name] = words[column.name][number % len(words[column.name])]
            else:
                row[column.name] = odd_value(column, number, at, least.get(column.name, 0))
        if name == "jobs":
            row |= {"lease_id": f"lease-{number}", "next_attempt_at": TIMES[number % 4]}
        if number == 0:
            row["id"] = {"managed_certificates": "mc-one", "targets": "t-one"}.get(name, row["id"])
        if name == "targets":
            row |= {column.name: {} for column in table.columns if isinstance(column.type, sa.JSON)}
            row["last_result"] = None
        if name == "agents":
            row["retired_at"] = TIMES[0] if number % 2 else None
        yield row


def odd_value(column: sa.Column[Any], number: int, at: int, least: int) -> Any:
    kind = column.type
    if isinstance(kind, sa.JSON):
        choices = SHAPES.get(column.name, OBJECTS)
        if column.name in {"sans", "redacted_keys", "notifiers", "allowed_ekus"}:
            choices = TEXT_LISTS
        if column.name in {"required_san_patterns", "allowed_subject_attributes"}:
            choices = TEXT_LISTS
        return choices[at % len(choices)]
    if isinstance(kind, UTCDateTime):
        return TIMES[at % len(TIMES)]
    if isinstance(kind, sa.Boolean):
        return bool(at % 2)
    if isinstance(kind, sa.Integer):
        return least + number + 1
    if isinstance(kind, sa.Float):
        return at / 4
    if isinstance(kind, sa.LargeBinary):
        return bytes([number])
    fixed = {"certificate_id": "mc-one", "target_id": "t-one"}
    if column.name in fixed:
        return fixed[column.name]
    text = f"{number}{TEXTS[at % len(TEXTS)]}"
    return text[: kind.length] if isinstance(kind, sa.String) and kind.length else text


def lists(core: Core) -> list[Operation]:
    return [operation for operation in core.table if operation.is_list]


def calls(core: Core, operation: Operation, query: dict[str, Any]) -> tuple[Page[Any], Page[Any]]:
    """The page in the short way, and as models."""
    model = operation.query
    pages = []
    for listing in (Listing(collection=operation.collection or ""), None):
        with core.units.read(SYSTEM) as uow:
            uow.listing = listing
            pages.append(
                operation.run(
                    Call(
                        actor=SYSTEM, request_id="", now=uow.now, uow=uow,
                        path={"certificate_id": "mc-one", "target_id": "t-one"},
                        query=model.model_validate(query) if model is not None else None,
                    )
                )
            )  # fmt: skip
    short, models = pages
    assert isinstance(short, Page)
    assert isinstance(models, Page)
    return short, models


@pytest.mark.spec("01/API-09", "01/API-10")
@pytest.mark.parametrize("paging", [{}, {"page_size": 4}, {"per_page": 2, "page": 2}])
def test_the_short_way_writes_what_the_models_write(crowded: Core, paging: dict[str, int]) -> None:
    taken = set()
    for operation in lists(crowded):
        if "{" in operation.path and operation.name not in SHORT:
            continue
        short, models = calls(crowded, operation, paging)

        assert list(short.data) == list(models.data), operation.name
        assert (short.total, short.total_exact) == (models.total, models.total_exact)
        assert (short.size, short.number) == (models.size, models.number)
        assert short.next_cursor == models.next_cursor
        if isinstance(short.data, JSONRows):
            taken.add(operation.name)
            assert short.data.json().encode() == to_json(list(models.data)), operation.name

    assert taken == set(SHORT)


@pytest.mark.spec("01/API-10", "01/API-25")
@pytest.mark.parametrize("sort", ["", "-"])
def test_every_list_answers_with_its_output_model(crowded: Core, sort: str) -> None:
    """A whole walk of each list: the bytes fit the model, and are those of the model."""
    path = {"certificate_id": "mc-one", "target_id": "t-one"}
    for operation in lists(crowded):
        if "{" in operation.path and operation.name not in SHORT:
            continue
        rows = TypeAdapter(list[operation.output])  # type: ignore[name-defined]
        for field in operation.sorts:
            seen = []
            query = {"page_size": "3", "sort": sort + field}
            while True:
                mine = {name: path[name] for name in path if f"{{{name}}}" in operation.path}
                answer = send(crowded, operation.name, path=mine, query=list(query.items()))
                envelope = json.loads(answer.body)
                found = rows.validate_json(to_json(envelope["data"]))
                bare = b'{"data":' + to_json(found) + b',"total":'
                assert answer.body.startswith(bare), (operation.name, field)
                seen += [row.model_dump_json() for row in found]
                if "next_cursor" not in envelope:
                    break
                query["cursor"] = envelope["next_cursor"]
            _, models = calls(crowded, operation, {"sort": sort + field})
            assert seen == [row.model_dump_json() for row in models.data], (operation.name, field)


@pytest.mark.spec("01/API-09")
@pytest.mark.parametrize("query", [[], [("page_size", "3")], [("per_page", "2"), ("page", "2")]])
def test_a_query_that_comes_again_is_answered_alike(
    crowded: Core, query: list[tuple[str, str]]
) -> None:
    for operation in lists(crowded):
        if "{" not in operation.path and operation.query is not None:
            first = send(crowded, operation.name, query=query)
            assert [send(crowded, operation.name, query=query) for _ in range(2)] == [first] * 2


@pytest.mark.spec("05/RBAC-13", "05/RBAC-14", "01/API-14")
def test_who_asks_is_looked_at_each_time(core: Core) -> None:
    """What was read for one actor opens nothing for another, nor for the same one later."""
    for name in ("a", "b"):
        core.call("profiles.create", body={"name": name, "id": f"prof-{name}"})
    reader = actor_with(core, "r-operator")
    limited = Actor(type=ActorType.USER, id="u-limited")
    with core.begin() as uow:
        core.rooms.access.grant(
            uow, actor_type=ActorType.USER, actor_id=limited.id, role_id="r-operator",
            scope_type=ScopeType.PROFILE, scope_id="prof-a",
        )  # fmt: skip

    def ids(actor: Actor) -> list[str]:
        answer = send(core, "profiles.list", actor=actor, query=[("page_size", "9")])
        return sorted(row["id"] for row in json.loads(answer.body)["data"])

    for _ in range(2):
        assert ids(reader) == ["prof-a", "prof-b", "prof-default"]
        assert ids(limited) == ["prof-a"]
        with pytest.raises(PermissionDenied):
            ids(Actor(type=ActorType.USER, id="u-nobody"))
        with pytest.raises(Unauthenticated):
            ids(ANONYMOUS)
    with core.begin() as uow:
        core.rooms.access.revoke_all(uow, actor_type=reader.type, actor_id=reader.id)
    with pytest.raises(PermissionDenied):
        ids(reader)
    with pytest.raises(BadIfMatch):
        send(core, "profiles.list", query=[("page_size", "9")], if_match="x")


@pytest.mark.spec("01/API-12")
def test_fields_of_a_row(crowded: Core) -> None:
    answer = send(
        crowded, "certificates.list", query=[("fields", "tags, id,expires_at"), ("page_size", "5")]
    )

    _, models = calls(crowded, crowded.table["certificates.list"], {"page_size": 5})
    expected = [
        {name: value for name, value in row.items() if name in {"id", "tags", "expires_at"}}
        for row in (model.model_dump(mode="json") for model in models.data)
    ]
    assert json.loads(answer.body)["data"] == expected
    assert list(json.loads(answer.body)["data"][0]) == ["id", "tags", "expires_at"]


@pytest.mark.spec("01/API-14")
def test_the_tag_moves_with_the_rows(core: Core) -> None:
    """The same rows have the same tag, with and without ``If-None-Match``; others have another."""

    def tag(**members: Any) -> str:
        return dict(send(core, "profiles.list", **members).headers)["ETag"]

    first = tag()
    assert tag() == first
    assert tag(if_none_match='W/"other"') == first
    assert send(core, "profiles.list", if_none_match=first).status == 304
    empty = tag(query=[("q", "nothing is called this")])
    core.call("profiles.create", body={"name": "another"})

    assert tag() != first
    assert send(core, "profiles.list", if_none_match=first).status == 200
    assert tag(query=[("q", "nothing is called this")]) != empty


def test_what_was_compiled_is_not_taken_for_another_filter(core: Core) -> None:
    """Statements are kept by their filters, scopes and totals: every one counts its own rows."""
    for name in ("one", "two", "three"):
        core.call("profiles.create", body={"name": name, "enabled": name != "two"})

    def names(**query: str) -> tuple[list[str], int]:
        answer = json.loads(send(core, "profiles.list", query=list(query.items())).body)
        return sorted(row["name"] for row in answer["data"]), answer["total"]

    for _ in range(3):
        assert names(q="two") == (["two"], 1)
        assert names(q="three") == (["three"], 1)
        assert names(enabled="false") == (["two"], 1)
        assert names(q="t", enabled="true", page_size="1", sort="name")[0] == ["Default"]


@pytest.mark.spec("08/DB-2")
@pytest.mark.parametrize("database_engine", ["postgres"])
def test_a_lost_connection_is_told_once_and_left_behind(core: Core) -> None:
    engine = sa.create_engine(core.units.database.url, poolclass=sa.NullPool)
    borrow = core.units.database.borrow
    for _ in range(3):
        send(core, "profiles.list")
        borrow(lambda _one: borrow(lambda _two: borrow(lambda _three: None)))
        with engine.begin() as connection:
            connection.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND datname = current_database()"
                )
            )
        with pytest.raises(DatabaseUnavailable):
            send(core, "profiles.list")

        assert send(core, "profiles.list").status == 200


@pytest.mark.parametrize("database_engine", ["postgres"])
def test_many_statements_on_one_connection(core: Core) -> None:
    """More filters than a connection keeps prepared: each still finds its own rows."""
    core.call("profiles.create", body={"name": "needle"})
    for _ in range(3):
        for number in range(70):
            answer = send(core, "profiles.list", query=[("q", f"hay {number}")])
            assert json.loads(answer.body)["total"] == 0
        found = json.loads(send(core, "profiles.list", query=[("q", "needle")]).body)
        assert [row["name"] for row in found["data"]] == ["needle"]


@pytest.mark.spec("08/DB-3")
@pytest.mark.parametrize("database_engine", ["postgres"])
def test_nothing_is_prepared_behind_a_pooler(core: Core) -> None:
    database = Database(
        core.units.database.url.render_as_string(hide_password=False), transaction_pooler=True
    )
    units = UnitOfWorkFactory(database, clock=core.clock, bus=Bus())
    for _ in range(4):
        with units.read() as uow:
            uow.listing = Listing(collection="profiles")
            page = core.rooms.profiles.page(uow, ProfileQuery())
            assert isinstance(page.data, JSONRows)
    with units.read() as uow:
        assert uow.scalar(sa.text("SELECT count(*) FROM pg_prepared_statements")) == 0
    database.close()


@pytest.mark.spec("08/DB-2")
@pytest.mark.parametrize("database_engine", ["postgres"])
def test_a_connection_that_lay_idle_is_not_trusted(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the pool's own: one that the network forgot meanwhile fails no request."""
    database = core.units.database

    def backend() -> object:
        return database.borrow(lambda conn: cast("Any", conn.driver_connection).info.backend_pid)

    send(core, "profiles.list")
    first = backend()
    assert backend() == first
    monkeypatch.setattr("certctl_core.kernel.db.engine._STALE_AFTER_SECONDS", -1)

    assert backend() != first
    assert send(core, "profiles.list").status == 200
