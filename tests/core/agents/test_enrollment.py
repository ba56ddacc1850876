"""Enrollment: who may bring agents, how many, and what they get (07 §4.1)."""

from __future__ import annotations

import re
import threading
from datetime import timedelta

import pytest

from certctl_core.fleet.agents import (
    AgentKeyInvalid,
    AgentNameTaken,
    AgentStatus,
    EnrollmentTokenInvalid,
    TooManyEnrollments,
)
from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.secrets import Secret
from certctl_core.testing.factories import actor_with
from tests.core.agents.fleet import Fleet
from tests.machine import PATIENCE_SECONDS


@pytest.mark.spec("07/AGT-01", "07/AGT-02", "07/AGT-08", "01/AG-04")
def test_a_token_brings_an_agent_with_a_key_and_its_role(fleet: Fleet) -> None:
    enrolled = fleet.enroll(os="linux", architecture="x86_64", version="1.2.3")

    assert re.fullmatch(r"cca_[A-Za-z0-9_-]{43}", enrolled.api_key)
    assert (enrolled.heartbeat_interval_seconds, enrolled.poll_interval_seconds) == (60, 30)
    actor = fleet.core.keys.authenticate(enrolled.api_key)
    assert (actor.type, actor.id) == (ActorType.AGENT, enrolled.id)
    view = fleet.call("agents.get", path={"agent_id": enrolled.id})
    assert (view.status, view.os, view.agent_version) == (AgentStatus.ONLINE, "linux", "1.2.3")
    (event,) = fleet.events("agent.enrolled")
    assert event.actor == enrolled.id
    assert enrolled.api_key not in event.model_dump_json()


@pytest.mark.spec("07/AGT-03", "07/AGT-06")
@pytest.mark.parametrize(
    "defect", ["unknown", "expired", "exhausted", "revoked", "foreign_address", "foreign_name"]
)
def test_a_token_that_does_not_do_is_refused_alike(fleet: Fleet, defect: str) -> None:
    members: dict[str, object] = {}
    if defect == "foreign_address":
        members["source_cidrs"] = ["192.0.2.0/24"]
    if defect == "foreign_name":
        members["name_pattern"] = "db-*"
    token = fleet.token(**members)
    match defect:
        case "unknown":
            token = "ctl_enrl_" + "0" * 64
        case "expired":
            fleet.clock.advance(timedelta(hours=24, seconds=1))
        case "exhausted":
            fleet.enroll("web-0", token)
        case "revoked":
            (row,) = fleet.call("enrollment_tokens.list").data
            fleet.call("enrollment_tokens.revoke", path={"token_id": row.id})
        case _:
            pass
    before = fleet.call("agents.list").total

    with pytest.raises(EnrollmentTokenInvalid) as refused:
        fleet.enroll("web-1", token)

    assert refused.value.detail == EnrollmentTokenInvalid.text
    assert fleet.call("agents.list").total == before


@pytest.mark.spec("07/AGT-05")
def test_parallel_uses_of_a_one_use_token_bring_one_agent(fleet: Fleet) -> None:
    token = fleet.token()
    start = threading.Barrier(4)
    results: list[str] = []

    def use(name: str) -> None:
        start.wait(PATIENCE_SECONDS)
        try:
            fleet.enroll(name, token)
            results.append("enrolled")
        except CertctlError as error:
            results.append(error.code)

    threads = [threading.Thread(target=use, args=(f"web-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == ["enrolled", *["invalid_enrollment_token"] * 3]
    assert fleet.call("agents.list").total == 1


@pytest.mark.spec("07/AGT-04")
def test_a_refused_name_gives_the_use_of_the_token_back(fleet: Fleet) -> None:
    fleet.enroll("web-1")
    token = fleet.token()

    with pytest.raises(AgentNameTaken):
        fleet.enroll("web-1", token)

    assert fleet.enroll("web-2", token).name == "web-2"


@pytest.mark.spec("07/AGT-03")
def test_the_eleventh_attempt_in_a_minute_is_refused(fleet: Fleet) -> None:
    for _ in range(10):
        with pytest.raises(EnrollmentTokenInvalid):
            fleet.enroll("web-1", "ctl_enrl_" + "0" * 64)

    with pytest.raises(TooManyEnrollments) as refused:
        fleet.enroll("web-1")
    assert refused.value.data["retry_after_seconds"] == 60

    fleet.clock.advance(timedelta(seconds=61))
    assert fleet.enroll("web-1").name == "web-1"


def test_the_labels_of_the_token_win(fleet: Fleet) -> None:
    token = fleet.token(agent_labels={"stage": "production"})

    enrolled = fleet.enroll("web-1", token, labels={"stage": "mine", "rack": "7"})

    view = fleet.call("agents.get", path={"agent_id": enrolled.id})
    assert view.labels == {"stage": "production", "rack": "7"}
    assert fleet.call("agents.list", query={"label": "rack=7"}).total == 1
    assert fleet.call("agents.list", query={"label": "rack=8"}).total == 0


@pytest.mark.spec("07/AGT-04")
@pytest.mark.parametrize("field", ["name", "hostname"])
def test_name_and_hostname_are_needed(fleet: Fleet, field: str) -> None:
    body = {"token": Secret("x"), "name": "web-1", "hostname": "h.example.test"}
    del body[field]

    with pytest.raises(CertctlError) as refused:
        fleet.call("agents.enroll", body=body)

    assert [item.field for item in refused.value.fields] == [field]


def test_an_operator_registers_an_agent_ahead_of_its_first_contact(fleet: Fleet) -> None:
    operator = actor_with(fleet.core, "r-operator")

    created = fleet.call(
        "agents.create", actor=operator, body={"name": "db-1", "hostname": "db-1.example.test"}
    )

    assert created.status is AgentStatus.OFFLINE
    agent = fleet.core.keys.authenticate(created.api_key)
    assert fleet.work(agent) == []
    (event,) = fleet.events("agent.registered")
    assert event.actor == operator.id


@pytest.mark.spec("07/AGT-02")
def test_the_key_is_in_no_list_and_no_audit_row(fleet: Fleet) -> None:
    enrolled = fleet.enroll()

    shown = [view.model_dump_json() for view in fleet.call("agents.list").data]
    shown += [event.model_dump_json() for event in fleet.call("audit.list").data]

    assert not [text for text in shown if enrolled.api_key[4:] in text]


def test_a_rotated_key_works_at_once_and_the_old_one_for_ten_minutes(fleet: Fleet) -> None:
    old = fleet.enroll().api_key
    agent = fleet.core.keys.authenticate(old)

    new = fleet.call("agents.rotate_key", actor=agent, path={"agent_id": agent.id}).api_key

    assert fleet.core.keys.authenticate(new) == agent
    assert fleet.core.keys.authenticate(old) == agent
    fleet.clock.advance(timedelta(minutes=10))
    assert fleet.core.keys.authenticate(new) == agent
    with pytest.raises(AgentKeyInvalid):
        fleet.core.keys.authenticate(old)


def test_an_operator_rotates_a_key_and_another_agent_does_not(fleet: Fleet) -> None:
    agent, other = fleet.agent("web-1"), fleet.agent("web-2")
    operator = actor_with(fleet.core, "r-operator")

    with pytest.raises(CertctlError, match=r"agent\.edit"):
        fleet.call("agents.rotate_key", actor=other, path={"agent_id": agent.id})
    assert fleet.call("agents.rotate_key", actor=operator, path={"agent_id": agent.id}).api_key


def test_an_unknown_key_is_refused(fleet: Fleet) -> None:
    with pytest.raises(AgentKeyInvalid):
        fleet.core.keys.authenticate("cca_" + "A" * 43)


def test_an_edit_needs_the_version_that_was_read(fleet: Fleet) -> None:
    agent = fleet.agent()
    path = {"agent_id": agent.id}
    core = fleet.core
    changed = core.dispatcher.call(
        "agents.update", path=path, body={"labels": {"rack": "7"}}, if_match=1
    )

    assert (changed.version, changed.labels, changed.name) == (2, {"rack": "7"}, "web-1")
    with pytest.raises(CertctlError) as refused:
        core.dispatcher.call("agents.update", path=path, body={"name": "x"}, if_match=1)
    assert refused.value.code == "precondition_failed"


def test_an_anonymous_caller_sees_nothing(fleet: Fleet) -> None:
    with pytest.raises(CertctlError) as refused:
        fleet.call("agents.list", actor=Actor(type=ActorType.ANONYMOUS, id=""))
    assert refused.value.code == "unauthenticated"
