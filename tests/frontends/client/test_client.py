"""The client against a real server: answers, lists, refusals (spec 01 §1, §13)."""

from __future__ import annotations

import re
import typing
from typing import Any

import pytest
from certctl_client import APIError, Client, read_client_file
from certctl_client import types as answers
from certctl_client.fleet import OPEN_JOB_STATES
from certctl_client.routes import BASE_PATH, ROUTES

from certctl_core.api.table import BASE_PATH as SERVER_BASE_PATH
from certctl_core.kernel.errors import ErrorKind
from certctl_core.kernel.jobs.types import OPEN
from certctl_core.testing.factories import make_csr
from tests.frontends.client.live import Live


def _issue(client: Client, name: str) -> Any:
    return client.certificates.create(common_name=name, name=name, csr_pem=make_csr(name))


def test_a_certificate_goes_all_the_way(live: Live) -> None:
    with live.client() as client:
        created = _issue(client, "way.example.test")
        certificate_id = created["id"]
        found = client.certificates.find("way.example.test")
        renewed = client.certificates.renew(certificate_id, csr_pem=make_csr("way.example.test"))
        pem = client.certificates.download(certificate_id)
        revoked = client.certificates.revoke(certificate_id, reason="superseded")
        versions = client.certificates.versions(certificate_id)
        client.certificates.archive(certificate_id)

        assert created["issued"] is not None
        assert found is not None
        assert found["id"] == certificate_id
        assert renewed["issued"] is not None
        assert pem["cert_pem"] == renewed["issued"]["certificate_pem"]
        assert renewed["issued"]["version"]["serial_number"] in revoked["serials"]
        assert versions.total == 2
        assert client.certificates.get(certificate_id)["status"] == "Archived"


def test_a_walk_over_a_list_gives_every_row_once(live: Live) -> None:
    with live.client() as client:
        for number in range(5):
            client.certificates.create(common_name=f"w{number}.walk.example.test")
        rows = list(client.certificates.each(page_size=2, q="walk.example.test", sort="name"))

    assert [row["name"] for row in rows] == [f"w{n}.walk.example.test" for n in range(5)]


def test_a_profile_is_tried_as_it_is_stored_or_as_it_might_be(live: Live) -> None:
    with live.client() as client:
        profile = client.profiles.get("prof-default")
        stored = client.profiles.preview(profile, names=["a.example.com"])
        changed = {"name": "staple", "must_staple": True, "include_aia": False}
        other = client.profiles.preview(changed, issuer_id="iss-local", key_algorithm="RSA-3072")

    assert stored["would_issue"]
    assert stored["certificate"] is not None
    assert stored["certificate"]["names"] == ["a.example.com"]
    assert not other["would_issue"]
    assert "Must-staple" in " ".join(other["refusals"])


def test_a_change_may_depend_on_the_version_that_was_seen(live: Live) -> None:
    with live.client() as client:
        row = client.certificates.create(common_name="etag.example.test")
        changed = client.certificates.update(
            row["id"], {"environment": "blue"}, version=row["version"]
        )
        with pytest.raises(APIError) as late:
            client.certificates.update(row["id"], {"environment": "red"}, version=row["version"])

    assert changed["environment"] == "blue"
    assert late.value.kind is ErrorKind.PRECONDITION


def test_a_refusal_carries_what_the_server_said(live: Live) -> None:
    with live.client() as client, pytest.raises(APIError) as refusal:
        client.certificates.list(status="Nonsense")

    error = refusal.value
    assert (error.status, error.code, error.kind) == (400, "validation_error", ErrorKind.INVALID)
    assert [item.field for item in error.fields] == ["status"]
    assert re.fullmatch(r"[0-9a-f-]{36}", error.request_id)


@pytest.mark.parametrize(
    ("role", "kind"),
    [("viewer", ErrorKind.FORBIDDEN), (None, ErrorKind.UNAUTHENTICATED)],
)
def test_the_kind_of_a_refusal_can_be_told(live: Live, role: str | None, kind: ErrorKind) -> None:
    key = live.keys[role] if role else None
    with (
        Client(live.url, api_key=key, ca_path=live.ca_path) as client,
        pytest.raises(APIError) as refusal,
    ):
        client.api_keys.list()

    assert refusal.value.kind is kind


def test_an_id_cannot_leave_its_path(live: Live) -> None:
    with live.client() as client, pytest.raises(APIError) as refusal:
        client.certificates.get("../issuers/iss-local?x=#")

    assert refusal.value.status in {400, 404}


def test_a_data_directory_is_all_that_is_needed(live: Live) -> None:
    with Client.from_directory(live.data_dir) as client:
        assert client.auth.me()["admin"]
        assert client.ready()[0]

    settings = read_client_file(live.data_dir)
    assert settings.url == live.url
    assert live.keys["admin"] not in repr(settings)


def test_keys_are_made_rotated_and_revoked(live: Live) -> None:
    with live.client() as client:
        key = client.api_keys.create("made-by-client", role_ids=["r-viewer"])
        rotated = client.api_keys.rotate(key["id"], overlap_seconds=0)
        with Client(live.url, api_key=rotated["key_value"], ca_path=live.ca_path) as other:
            assert other.auth.me()["actor_id"] == key["id"]
        client.api_keys.revoke(key["id"])
        with (
            Client(live.url, api_key=key["key_value"], ca_path=live.ca_path) as old,
            pytest.raises(APIError),
        ):
            old.auth.me()


def test_routes_are_those_of_the_operation_table(live: Live) -> None:
    table = {item.name: (item.method, item.path) for item in live.core.table}

    assert BASE_PATH == SERVER_BASE_PATH
    assert table == ROUTES


def _views(live: Live) -> dict[str, set[str]]:
    """The members of every answer of the table, and of what is nested in them, by class name."""
    found: dict[str, set[str]] = {}

    def add(annotation: Any) -> None:
        for inner in typing.get_args(annotation):
            add(inner)
        members = getattr(annotation, "model_fields", None)
        if members is None or annotation.__name__ in found:
            return
        found[annotation.__name__] = {info.alias or name for name, info in members.items()}
        for info in members.values():
            add(info.annotation)

    for operation in live.core.table:
        add(operation.output)
    return found


def test_answer_types_name_no_member_that_the_server_does_not_send(live: Live) -> None:
    views = _views(live)
    known = {**{name.removesuffix("View"): members for name, members in views.items()}}
    compared = 0
    for name in answers.__all__:
        members = known.get(name) or known.get(f"Issued{name}")
        if members is not None and name != "Version":
            compared += 1
            assert set(getattr(answers, name).__annotations__) == members, name

    assert compared > 25


def test_open_job_states_are_those_of_the_job_engine() -> None:
    assert {str(status) for status in OPEN} == OPEN_JOB_STATES
