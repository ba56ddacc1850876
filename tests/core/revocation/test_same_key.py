"""A compromised key that other certificates have, too (02 REV-1; 02 PROF-3)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from certctl_core.app import Core
from certctl_core.kernel.errors import CertctlError
from certctl_core.lifecycle.certificates import Status
from certctl_core.people.access import ScopeType
from certctl_core.pki.keys import KeyAlgorithm, generate
from certctl_core.testing.factories import actor_with, make_csr
from certctl_core.testing.fakes import FakeClock

pytestmark = pytest.mark.spec("02/REV-1")
KEY, OTHER = generate(KeyAlgorithm.ECDSA_P256), generate(KeyAlgorithm.ECDSA_P256)


def issue(core: Core, name: str, key: Any = KEY, **members: Any) -> str:
    issued = core.issue(make_csr(f"{name}.example.com", key=key), **members)
    return str(issued.certificate.id)


def revoke(core: Core, certificate_id: str, reason: str = "keyCompromise", **call: Any) -> Any:
    path = {"certificate_id": certificate_id}
    return core.call("certificates.revoke", path=path, body={"reason": reason}, **call)


def renew(core: Core, certificate_id: str, name: str, key: Any) -> None:
    body = {"csr_pem": make_csr(f"{name}.example.com", key=key), "force": True}
    core.call("certificates.renew", path={"certificate_id": certificate_id}, body=body)


def valid_with(core: Core, digest: str) -> list[str]:
    query = {"spki_sha256": digest.upper(), "include_archived": True, "page_size": 500}
    return sorted(row.id for row in core.call("certificates.list", query=query).data)


def test_all_others_with_the_key_are_named(core: Core) -> None:
    ids = [issue(core, f"h{number}") for number in range(230)]
    issue(core, "other", OTHER)

    answer = revoke(core, ids[0])

    (found,) = answer.same_key
    assert found.total == 229
    assert found.certificate_ids == sorted(ids[1:])
    assert valid_with(core, found.spki_sha256) == sorted(ids[1:])

    body = {"reason": "keyCompromise", "spki_sha256": found.spki_sha256}
    done = core.call("certificates.bulk_revoke", body=body)
    assert (done.total_matched, done.total_revoked, done.total_failed) == (229, 229, 0)
    assert valid_with(core, found.spki_sha256) == []
    assert core.call("certificates.list", query={"status": "Active"}).total == 1


def test_another_reason_and_a_key_of_its_own_name_nothing(core: Core) -> None:
    first, _second, alone = issue(core, "a"), issue(core, "b"), issue(core, "c", OTHER)

    assert revoke(core, first, "superseded").same_key == []
    assert revoke(core, alone).same_key == []


def test_expired_and_revoked_ones_are_not_named(core: Core, clock: FakeClock) -> None:
    profile = core.call(
        "profiles.create", body={"name": "day", "default_validity_seconds": 86400}
    ).id
    issue(core, "expired", certificate_profile_id=profile)
    clock.advance(timedelta(days=2))
    first, second = issue(core, "a"), issue(core, "b")

    assert revoke(core, first).same_key[0].certificate_ids == [second]
    assert revoke(core, second).same_key == []


def test_only_versions_with_the_key_are_revoked(core: Core, clock: FakeClock) -> None:
    first, rekeyed, archived = issue(core, "a"), issue(core, "b"), issue(core, "c")
    clock.advance(timedelta(minutes=1))
    renew(core, rekeyed, "b", OTHER)
    core.call("certificates.archive", path={"certificate_id": archived})
    (found,) = revoke(core, first).same_key
    assert set(found.certificate_ids) == {rekeyed, archived}

    body = {"reason": "keyCompromise", "spki_sha256": found.spki_sha256}
    preview = core.call("certificates.bulk_revoke", body=body | {"dry_run": True})
    done = core.call("certificates.bulk_revoke", body=body | {"expected_count": 2})

    assert (preview.to_revoke, done.total_revoked, done.errors) == (2, 2, [])
    versions = core.call("certificates.versions", path={"certificate_id": rekeyed}).data
    assert [(item.is_current, item.revoked_at is not None) for item in versions] == [
        (True, False),
        (False, True),
    ]
    states = [
        core.call("certificates.get", path={"certificate_id": item}).status
        for item in (rekeyed, archived)
    ]
    assert states == [Status.ACTIVE, Status.ARCHIVED]
    assert core.call("certificates.bulk_revoke", body=body).total_matched == 0


def test_who_may_revoke_a_part_is_told_how_many_there_are(core: Core) -> None:
    mine = core.call("profiles.create", body={"name": "mine"}).id
    first = issue(core, "a", certificate_profile_id=mine)
    second = issue(core, "b", certificate_profile_id=mine)
    issue(core, "c")
    actor = actor_with(core)
    with core.begin() as uow:
        core.rooms.access.grant(
            uow,
            actor_type=actor.type,
            actor_id=actor.id,
            role_id="r-operator",
            scope_type=ScopeType.PROFILE,
            scope_id=mine,
        )

    (found,) = revoke(core, first, actor=actor).same_key

    assert (found.total, found.certificate_ids) == (2, [second])


@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_a_digest_that_is_none(core: Core) -> None:
    body = {"reason": "keyCompromise", "spki_sha256": "abc"}
    with pytest.raises(CertctlError):
        core.call("certificates.bulk_revoke", body=body)


@pytest.mark.spec("02/REV-2")
def test_what_is_on_hold_is_not_released_with_a_compromised_key(core: Core) -> None:
    held, lost = issue(core, "held"), issue(core, "lost")
    revoke(core, held, "certificateHold")
    revoke(core, lost)

    with pytest.raises(CertctlError) as caught:
        core.call("certificates.unhold", path={"certificate_id": held})

    assert caught.value.code == "held_key_blocked"
    shown = core.call("certificates.get", path={"certificate_id": held})
    assert shown.status is Status.REVOKED
    assert shown.revocation_reason == "certificateHold"
