"""Renewal policies (01 §2.7): kept, used by certificates at once, never deleted under one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl_core.app import Core
from certctl_core.kernel.errors import CertctlError
from certctl_core.lifecycle.policies import RenewalPolicyView, renew_at
from certctl_core.testing.fakes import EPOCH, FakeClock
from tests.core.certificates.support import active, create, get, put


def policy(core: Core, name: str = "Own", **body: object) -> RenewalPolicyView:
    made: RenewalPolicyView = core.call("renewal_policies.create", body={"name": name, **body})
    return made


def change(core: Core, policy_id: str, **body: object) -> RenewalPolicyView:
    path = {"renewal_policy_id": policy_id}
    changed: RenewalPolicyView = core.call("renewal_policies.update", path=path, body=body)
    return changed


@pytest.mark.spec("01/RP-01")
def test_create_change_and_delete(core: Core) -> None:
    made = policy(core, "Every Week!", renewal_window_days=7)
    path = {"renewal_policy_id": made.id}

    assert (made.id, made.version, made.renewal_window_days) == ("rp-every-week", 1, 7)
    assert policy(core, "every week").id == "rp-every-week-2"
    assert change(core, made.id, auto_renew=False).version == 2
    replaced = core.call("renewal_policies.replace", path=path, body={"name": "Every Week!"})
    assert (replaced.version, replaced.auto_renew, replaced.renewal_window_days) == (3, True, 30)
    assert change(core, made.id, renewal_window_days=None).renewal_window_days == 30
    core.call("renewal_policies.delete", path=path)
    with pytest.raises(CertctlError) as caught:
        core.call("renewal_policies.get", path=path)
    assert caught.value.code == "renewal_policy_not_found"
    actions = [item.action for item in core.call("audit.list").data]
    assert {"renewal_policy.created", "renewal_policy.updated", "renewal_policy.deleted"} <= set(
        actions
    )


@pytest.mark.spec("01/RP-01", "01/RP-02")
def test_what_is_refused(core: Core) -> None:
    made, other = policy(core, "One"), policy(core, "Two")

    def code(name: str, **arguments: object) -> str:
        with pytest.raises(CertctlError) as caught:
            core.call(name, **arguments)  # type: ignore[arg-type] # path and body by name
        return caught.value.code

    path = {"renewal_policy_id": other.id}
    assert code("renewal_policies.create", body={"name": "One"}) == "renewal_policy_name_taken"
    assert code("renewal_policies.create", body={"name": "X", "id": made.id}) == (
        "renewal_policy_name_taken"
    )
    assert code("renewal_policies.update", path=path, body={"name": "One"}) == (
        "renewal_policy_name_taken"
    )
    for body in (
        {"renewal_window_days": 0},
        {"renewal_window_days": 366},
        {"renew_at_percent": 100},
        {"max_retries": 11},
        {"retry_interval_seconds": 59},
        {"name": ""},
        {"colour": "red"},
    ):
        assert code("renewal_policies.update", path=path, body=body) == "validation_error"
    create(core, "web.example.test", renewal_policy_id=other.id)
    assert code("renewal_policies.delete", path=path) == "renewal_policy_in_use"
    default = {"renewal_policy_id": "rp-default"}
    assert code("renewal_policies.delete", path=default) == "renewal_policy_in_use"
    with pytest.raises(CertctlError) as caught:
        core.dispatcher.call(
            "renewal_policies.update", path=path, body={"max_retries": 1}, if_match=7
        )
    assert caught.value.code == "precondition_failed"
    assert core.call("renewal_policies.list").total == 3


class TestPlanning:
    """What a changed policy means for certificates under it, in the same transaction."""

    @pytest.mark.spec("01/RP-03", "06/RNW-1")
    def test_a_change_plans_by_the_new_policy(self, core: Core, clock: FakeClock) -> None:
        own = policy(core, "Own", renewal_window_days=10, renew_at_percent=50)
        under, beside = (
            active(core, "under.example.test", renewal_policy_id=own.id),
            active(core, "beside.example.test"),
        )

        change(core, own.id, renewal_window_days=40)

        view = get(core, under.id)
        end = clock.now() + timedelta(days=90)
        assert view.next_renewal_at is not None
        assert end - timedelta(days=40) <= view.next_renewal_at <= end - timedelta(days=36)
        assert get(core, beside.id).next_renewal_at == beside.next_renewal_at
        assert view.version == under.version, "what the machine plans is no edit"

    def test_the_default_policy_reaches_those_without_one(self, core: Core) -> None:
        view = active(core, "web.example.test")
        off = active(core, "off.example.test", managed_renewal=False)
        new = create(core, "new.example.test")
        revoked = active(core, "gone.example.test")
        core.call("certificates.revoke", path={"certificate_id": revoked.id})

        change(core, "rp-default", auto_renew=False)
        assert get(core, view.id).next_renewal_at is None
        change(core, "rp-default", auto_renew=True, renewal_window_days=1, renew_at_percent=99)

        after = get(core, view.id)
        assert after.next_renewal_at is not None
        assert after.expires_at is not None
        assert after.expires_at - after.next_renewal_at <= timedelta(days=1)
        for other in (off, new, revoked):
            assert get(core, other.id).next_renewal_at is None

    def test_issuance_sees_the_change_at_once(self, core: Core) -> None:
        change(core, "rp-default", auto_renew=False)
        assert active(core, "web.example.test").next_renewal_at is None

    def test_a_refused_change_plans_nothing(self, core: Core) -> None:
        view = active(core, "web.example.test")
        policy(core, "Taken")

        with pytest.raises(CertctlError):
            change(core, "rp-default", name="Taken", renewal_window_days=1)

        assert get(core, view.id).next_renewal_at == view.next_renewal_at
        assert active(core, "b.example.test").next_renewal_at is not None

    def test_many_at_once(self, core: Core) -> None:
        ids = [active(core, f"m{number}.example.test").id for number in range(30)]
        before = {item: get(core, item).next_renewal_at for item in ids}

        change(core, "rp-default", renewal_window_days=5)

        after = {item: get(core, item).next_renewal_at for item in ids}
        assert all(after[item] != before[item] for item in ids)
        assert len(set(after.values())) == len(ids), "they are spread"


DAYS = st.integers(1, 800)


@pytest.mark.spec("06/RNW-2")
@given(lifetime=DAYS, window=st.integers(1, 365), percent=st.integers(1, 99), seed=st.text())
def test_the_moment_is_inside_the_window_and_always_the_same(
    lifetime: int, window: int, percent: int, seed: str
) -> None:
    terms = RenewalPolicyView(
        id="rp", name="x", renewal_window_days=window, renew_at_percent=percent, auto_renew=True,
        max_retries=3, retry_interval_seconds=60, version=1, created_at=EPOCH, updated_at=EPOCH,
    )  # fmt: skip
    end = EPOCH + timedelta(days=lifetime)

    moment = renew_at(EPOCH, end, terms, seed=seed)

    assert moment is not None
    opens = max(end - timedelta(days=window), EPOCH + timedelta(days=lifetime) * percent / 100)
    assert opens <= moment < end
    assert moment - opens <= (end - opens) / 10
    assert renew_at(EPOCH, end, terms, seed=seed) == moment
    never = terms.model_copy(update={"auto_renew": False})
    assert renew_at(EPOCH, end, never, seed=seed) is None


def test_states_that_are_busy_are_not_planned(core: Core) -> None:
    from certctl_core.lifecycle.certificates import Status

    view = active(core, "web.example.test")
    put(core, view.id, Status.RENEWING)

    change(core, "rp-default", renewal_window_days=3)

    assert get(core, view.id).next_renewal_at == view.next_renewal_at
