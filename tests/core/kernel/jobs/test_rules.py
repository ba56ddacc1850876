"""Pure decisions of the job engine."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from certctl_core.kernel.errors import RateLimited, Unavailable, Unprocessable
from certctl_core.kernel.jobs import OPEN, TERMINAL, JobStatus, NewJob, RetryPolicy
from certctl_core.kernel.jobs.rules import is_retryable, subject_key
from certctl_core.kernel.jobs.types import TRANSITIONS


class Declared(Unprocessable):
    retryable = True


@pytest.mark.spec("08/JOB-5")
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Unavailable(), True),
        (RateLimited(), True),
        (Unprocessable(), False),
        (Declared(), True),
        (OSError("reset"), True),
    ],
)
def test_what_is_worth_a_retry(error, expected):
    assert is_retryable(error) is expected


@pytest.mark.spec("08/JOB-5")
def test_waits_double_up_to_the_cap():
    policy = RetryPolicy(base=timedelta(seconds=60), jitter=False)
    waits = [policy.wait(n, random.Random(1)).total_seconds() for n in (1, 2, 3, 7, 2000)]
    assert waits == [60, 120, 240, 3600, 3600]


@pytest.mark.spec("08/JOB-5")
def test_jitter_is_full():
    policy = RetryPolicy(base=timedelta(seconds=60))
    waits = [policy.wait(1, random.Random(n)).total_seconds() for n in range(200)]
    assert min(waits) < 5
    assert 55 < max(waits) <= 60


@pytest.mark.spec("07/JOB-05")
def test_fixed_steps_repeat_the_last():
    steps = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30))
    policy = RetryPolicy(steps=steps, jitter=False)
    assert [policy.wait(n, random.Random(1)) for n in (1, 2, 3, 4)] == [*steps, steps[-1]]


@pytest.mark.spec("01/JOB-05")
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"type": "Renewal", "certificate_id": "mc-1"}, "mc-1"),
        ({"type": "Deployment", "certificate_id": "mc-1", "target_id": "tgt-1"}, "mc-1:tgt-1"),
        ({"type": "Validation", "target_id": "tgt-1"}, "tgt-1"),
        ({"type": "Discovery"}, "source:dsrc-1"),
        ({"type": "Renewal", "certificate_id": "mc-1", "subject_key": "mc-1:ag-1"}, "mc-1:ag-1"),
    ],
)
def test_the_subject_of_the_one_open_job(values, expected):
    assert subject_key(NewJob(subject_type="source", subject_id="dsrc-1", **values)) == expected


def test_the_state_table_covers_every_state_and_ends():
    assert set(TRANSITIONS) == set(JobStatus) == OPEN | TERMINAL
    assert TRANSITIONS[JobStatus.COMPLETED] == TRANSITIONS[JobStatus.CANCELLED] == frozenset()
