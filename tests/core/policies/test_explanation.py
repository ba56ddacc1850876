"""A renewal policy in words: what it says is what is planned (01 §2.7, 06 RNW-2)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl_core.lifecycle.policies import (
    RenewalPolicyBody,
    explain_policy,
    renew_at,
    usual_renewal,
)
from certctl_core.testing.fakes import EPOCH

pytestmark = pytest.mark.spec("01/RP-03")


def body(**members: object) -> RenewalPolicyBody:
    return RenewalPolicyBody.model_validate({"name": "Own", **members})


def texts(policy: RenewalPolicyBody, *, warnings: bool = False) -> str:
    found = explain_policy(policy)
    return " ".join(item.text for item in found if item.is_warning or not warnings)


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({}, "30 to 27 days before its end"),
        ({"renewal_window_days": 14}, "14 to 13 days before its end"),
        ({"renew_at_percent": 95}, "about 4 days before its end"),
        ({"renewal_window_days": 1}, "24 to 22 hours before its end"),
        ({"auto_renew": False}, "never by itself"),
    ],
)
def test_when_a_90_day_certificate_renews(members: dict[str, object], says: str) -> None:
    policy = body(**members)

    assert usual_renewal(policy) == says
    if policy.auto_renew:
        assert f"A 90-day certificate renews {says}." in texts(policy)


@given(
    days=st.integers(1, 365),
    percent=st.integers(1, 99),
    seed=st.text(max_size=20),
)
def test_every_planned_moment_is_within_what_is_told(days: int, percent: int, seed: str) -> None:
    policy = body(renewal_window_days=days, renew_at_percent=percent)
    end = EPOCH + timedelta(days=90)

    planned = renew_at(EPOCH, end, policy, seed=seed)

    assert planned is not None
    words = usual_renewal(policy).removeprefix("about ").split()
    unit = next(word for word in words if word.rstrip("s") in {"day", "hour", "minute"})
    size = timedelta(**{f"{unit.rstrip('s')}s": 1})
    told = [int(word) * size for word in words if word.isdigit()]
    assert min(told) - size / 2 <= end - planned <= max(told) + size / 2


def test_what_a_failure_leads_to() -> None:
    some = texts(body(max_retries=1, retry_interval_seconds=1800))
    none = texts(body(max_retries=0, retry_interval_seconds=90))

    assert "tried up to 1 more time soon after; when all fail, a new one starts 30 minutes" in some
    assert "A renewal that fails is not repeated: a new one starts 90 seconds later." in none


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({}, ""),
        ({"auto_renew": False}, "Nothing renews by itself"),
        ({"retry_interval_seconds": 86400}, "a 6-hour certificate may end"),
        ({"retry_interval_seconds": 86400, "renew_at_percent": 99}, "a 90-day certificate may end"),
    ],
)
def test_what_it_warns_of(members: dict[str, object], says: str) -> None:
    found = explain_policy(body(**members))

    assert says in texts(body(**members), warnings=True)
    assert found[0].is_warning is bool(says), "warnings come first"
