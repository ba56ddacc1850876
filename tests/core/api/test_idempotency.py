"""``Idempotency-Key`` (01 API-16): a repeated POST is the same POST."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from certctl_core.api import idempotency
from certctl_core.app import Core
from certctl_core.kernel.actors import ANONYMOUS
from certctl_core.kernel.db import DatabaseBusy, idempotency_keys
from certctl_core.testing.factories import actor_with, make_csr
from certctl_core.testing.fakes import FakeClock
from tests.core.api.test_dispatch import ONE_ENGINE, refused, send

pytestmark = pytest.mark.spec("01/API-16")


def stored(core: Core) -> int:
    with core.units.read() as uow:
        count = sa.select(sa.func.count()).select_from(idempotency_keys)
        return int(uow.scalar(count))


def test_a_repeat_gets_the_first_answer(core: Core) -> None:
    body = {"common_name": "a.test", "csr_pem": make_csr("a.test")}

    first = send(core, "certificates.create", json=body, idempotency_key="k-1")
    again = send(core, "certificates.create", json=body, idempotency_key="k-1")

    assert first.status == again.status == 201
    assert json.loads(first.body) == json.loads(again.body)
    assert ("Idempotency-Replayed", "true") in again.headers
    assert ("Idempotency-Replayed", "true") not in first.headers
    assert core.call("certificates.list").total == 1
    assert core.call("issuer_orders.list").total == 1


def test_the_key_belongs_to_one_request_of_one_actor(core: Core) -> None:
    other = actor_with(core, "r-operator", actor_id="u-other")
    first = send(core, "certificates.create", json={"common_name": "a.test"}, idempotency_key="k")
    certificate_id = json.loads(first.body)["id"]

    for name, members in (
        ("certificates.create", {"json": {"common_name": "b.test"}}),
        ("certificates.revoke", {"path": {"certificate_id": certificate_id}, "json": {}}),
        ("profiles.create", {"json": {"common_name": "a.test"}}),
    ):
        document = refused(core, name, idempotency_key="k", **members)
        assert document["code"] in {"idempotency_mismatch", "validation_error"}
    theirs = send(
        core, "certificates.create", json={"common_name": "a.test"}, idempotency_key="k",
        actor=other,
    )  # fmt: skip
    assert json.loads(theirs.body)["id"] != certificate_id
    assert core.call("certificates.list").total == 2


def test_a_refused_request_frees_its_key(core: Core) -> None:
    body = {"common_name": "a.test", "certificate_profile_id": "prof-late"}
    assert refused(core, "certificates.create", json=body, idempotency_key="k")["status"] == 400
    assert stored(core) == 0
    core.call("profiles.create", body={"name": "late", "id": "prof-late"})

    assert send(core, "certificates.create", json=body, idempotency_key="k").status == 201


def test_a_secret_is_not_kept(core: Core) -> None:
    body = {"name": "key", "no_expiry": True}

    first = send(core, "api_keys.create", json=body, idempotency_key="k")
    again = send(core, "api_keys.create", json=body, idempotency_key="k")

    value = json.loads(first.body)["key_value"]
    assert (again.status, json.loads(again.body)["replayed"]) == (201, True)
    assert value.encode() not in again.body
    with core.units.read() as uow:
        assert value not in str(uow.execute(sa.select(idempotency_keys)).all())
    assert core.call("api_keys.list").total == 1


def test_of_many_at_once_one_does_the_work(core: Core) -> None:
    body = {"common_name": "a.test"}
    outcomes: list[str] = []

    def attempt() -> None:
        from certctl_core.kernel.errors import CertctlError

        try:
            answer = send(core, "certificates.create", json=body, idempotency_key="k")
            outcomes.append(json.loads(answer.body)["id"])
        except CertctlError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert core.call("certificates.list").total == 1
    assert len(set(outcomes) - {"idempotency_in_progress"}) == 1


def test_a_claim_of_a_dead_process_frees_itself(core: Core, clock: FakeClock) -> None:
    body = {"common_name": "a.test"}
    slot = idempotency.Slot(actor_id="system", key="k", request_digest="x" * 64)
    assert idempotency.claim(core.units, slot) is None

    assert refused(core, "certificates.create", json=body, idempotency_key="k")["code"] == (
        "idempotency_mismatch"
    )
    clock.advance(timedelta(minutes=5, seconds=1))
    assert send(core, "certificates.create", json=body, idempotency_key="k").status == 201


class TestTheProcessDies:
    """After the work is stored and before its answer is kept (01 API-16, 02 CERT-3)."""

    @pytest.fixture(autouse=True)
    def dead_before_the_answer(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        def die(*_args: object, **_members: object) -> None:
            raise SystemExit

        with monkeypatch.context() as patch:
            patch.setattr(idempotency, "store", die)
            self.alive_again = patch.undo
            yield

    def _lost(self, core: Core, name: str, body: dict[str, str]) -> None:
        with pytest.raises(SystemExit):
            send(core, name, json=body, idempotency_key="k")

    def test_the_repeat_hears_what_was_issued(self, core: Core) -> None:
        body = {"common_name": "a.test", "csr_pem": make_csr("a.test")}
        self._lost(core, "certificates.create", body)
        (made,) = core.call("certificates.list").data
        assert refused(core, "certificates.create", json=body, idempotency_key="k")["code"] == (
            "idempotency_in_progress"
        )

        self.alive_again()
        idempotency.release_all(core.units)
        again = json.loads(send(core, "certificates.create", json=body, idempotency_key="k").body)

        assert again["id"] == made.id
        assert again["issued"]["version"]["id"] == made.current_version_id
        assert again["issued"]["certificate_pem"].startswith("-----BEGIN CERTIFICATE-----")
        assert core.call("certificates.list").total == core.call("issuer_orders.list").total == 1

    def test_a_failed_order_is_placed_again_for_the_same_certificate(
        self, core: Core, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        body = {"common_name": "a.test", "csr_pem": make_csr("a.test")}
        with monkeypatch.context() as patch:
            # As for an issuer that is not in this process: its order is recorded first.
            patch.setattr(core.rooms.issuance, "_signs_here", lambda _issuer_id: False)
            patch.setattr(core.rooms.issuers, "submit", _die)
            self._lost(core, "certificates.create", body)
        core.rooms.issuance.recover(everything=True)

        self.alive_again()
        idempotency.release_all(core.units)
        again = json.loads(send(core, "certificates.create", json=body, idempotency_key="k").body)

        (made,) = core.call("certificates.list").data
        assert (again["id"], made.status) == (made.id, "Active")
        states = [order.state for order in core.call("issuer_orders.list").data]
        assert sorted(states) == ["failed", "issued"]

    def test_a_day_later_it_is_another_request(self, core: Core, clock: FakeClock) -> None:
        body = {"common_name": "a.test", "csr_pem": make_csr("a.test")}
        self._lost(core, "certificates.create", body)
        self.alive_again()
        clock.advance(timedelta(days=1, seconds=1))

        assert send(core, "certificates.create", json=body, idempotency_key="k").status == 201
        assert core.call("certificates.list").total == 2

    def test_one_transaction_keeps_act_and_answer(self, core: Core) -> None:
        first = send(core, "profiles.create", json={"name": "p"}, idempotency_key="k")
        again = send(core, "profiles.create", json={"name": "p"}, idempotency_key="k")

        assert json.loads(first.body) == json.loads(again.body)
        assert ("Idempotency-Replayed", "true") in again.headers


def _die(*_args: object) -> None:
    raise SystemExit


def test_answers_live_a_day(core: Core, clock: FakeClock) -> None:
    body = {"common_name": "a.test"}
    send(core, "certificates.create", json=body, idempotency_key="k")
    clock.advance(timedelta(hours=24))
    send(core, "certificates.create", json=body, idempotency_key="k")
    assert core.call("certificates.list").total == 1
    clock.advance(timedelta(seconds=1))
    assert idempotency.purge(core.units) == 1
    send(core, "certificates.create", json=body, idempotency_key="k")
    assert core.call("certificates.list").total == 2


@pytest.mark.parametrize("key", ["x" * 256, "ä", "a\tb", "a\x00b"])
@ONE_ENGINE
def test_unusable_keys(core: Core, key: str) -> None:
    document = refused(
        core, "certificates.create", json={"common_name": "a.test"}, idempotency_key=key
    )
    assert (document["status"], document["code"]) == (400, "bad_idempotency_key")
    assert core.call("certificates.list").total == 0


@ONE_ENGINE
def test_an_empty_answer_is_replayed_empty(core: Core) -> None:
    made = core.call("certificates.create", body={"common_name": "a.test"})
    core.rooms.renewal.set_key_holders(lambda _uow, _id: ["ag-1"])
    path = {"certificate_id": made.id}
    first = send(core, "certificates.renew", path=path, idempotency_key="k")
    again = send(core, "certificates.renew", path=path, idempotency_key="k")
    assert (first.status, again.status) == (202, 202)
    assert json.loads(first.body) == json.loads(again.body)


@ONE_ENGINE
def test_nobody_leaves_nothing(core: Core) -> None:
    document = refused(
        core, "certificates.create", json={"common_name": "a.test"}, idempotency_key="k",
        actor=ANONYMOUS,
    )  # fmt: skip
    assert document["status"] == 401
    assert stored(core) == 0


@ONE_ENGINE
def test_an_answer_that_cannot_be_kept_is_sent_all_the_same(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = core.units.begin
    calls = 0

    def busy(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:  # the claim, the work, and now the answer
            raise DatabaseBusy
        return begin(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(core.units, "begin", busy)
    body = {"common_name": "a.test"}
    answer = send(core, "certificates.create", json=body, idempotency_key="k")

    assert calls == 3
    assert answer.status == 201
