"""A renewal policy in sentences: when certificates under it renew, and what a failure leads to. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from certctl_core.lifecycle.policies.rules import renewal_window
from certctl_core.lifecycle.policies.schemas import RenewalPolicyBody
from certctl_core.values import dataclass

_SOME_DAY = datetime(2001, 1, 1, tzinfo=UTC)
_USUAL = timedelta(days=90)
_EXAMPLES = (_USUAL, timedelta(days=398), timedelta(days=47), timedelta(days=7), timedelta(hours=6))
"""Today's free certificates, the longest that browsers took, the longest of 2029, and short ones."""
_UNITS = (
    (timedelta(days=1), "day"),
    (timedelta(hours=1), "hour"),
    (timedelta(minutes=1), "minute"),
)


@dataclass(frozen=True, slots=True)
class PolicySentence:
    """One thing to know about a renewal policy.

    Attributes:
        is_warning: It may not be what one wants.
        text: For people.
    """

    is_warning: bool
    text: str


def explain_policy(policy: RenewalPolicyBody) -> list[PolicySentence]:
    """What a renewal policy means, the warnings first.

    Args:
        policy: Checked members of a policy.
    """
    return sorted(_sentences(policy), key=lambda sentence: not sentence.is_warning)


def usual_renewal(policy: RenewalPolicyBody) -> str:
    """When a 90-day certificate renews: ``30 to 27 days before its end``, or ``never by itself``."""
    return _before_end(policy, _USUAL) or "never by itself"


def _sentences(policy: RenewalPolicyBody) -> Iterator[PolicySentence]:
    if not policy.auto_renew:
        text = "Nothing renews by itself: somebody has to renew each certificate in time."
        yield PolicySentence(is_warning=True, text=text)
        return
    days = _count(policy.renewal_window_days, "day")
    text = (
        f"A certificate renews once {policy.renew_at_percent} % of its lifetime is over,"
        f" and not earlier than {days} before its end."
    )
    yield PolicySentence(is_warning=False, text=text)
    for lifetime in _EXAMPLES:
        text = f"A {_length(lifetime)} certificate renews {_before_end(policy, lifetime)}."
        yield PolicySentence(is_warning=False, text=text)
    wait = timedelta(seconds=policy.retry_interval_seconds)
    short = [lifetime for lifetime in _EXAMPLES if _least_left(policy, lifetime) <= wait]
    if short:
        text = (
            f"After a failure a {_length(max(short))} certificate may end before the next renewal"
            f" starts, {_span(wait)} later: renew earlier or wait less."
        )
        yield PolicySentence(is_warning=True, text=text)
    more = _count(policy.max_retries, "more time") if policy.max_retries else ""
    tries = f"is tried up to {more} soon after; when all fail," if more else "is not repeated:"
    text = f"A renewal that fails {tries} a new one starts {_span(wait)} later."
    yield PolicySentence(is_warning=False, text=text)
    text = "Only a certificate whose key an agent holds renews by itself; the others are renewed by hand."
    yield PolicySentence(is_warning=False, text=text)


def _left(policy: RenewalPolicyBody, lifetime: timedelta) -> tuple[timedelta, timedelta] | None:
    """The longest and the shortest time that is left when a certificate renews."""
    end = _SOME_DAY + lifetime
    window = renewal_window(_SOME_DAY, end, policy)
    return None if window is None else (end - window.opens, end - window.closes)


def _least_left(policy: RenewalPolicyBody, lifetime: timedelta) -> timedelta:
    left = _left(policy, lifetime)
    return lifetime if left is None else left[1]


def _before_end(policy: RenewalPolicyBody, lifetime: timedelta) -> str:
    left = _left(policy, lifetime)
    if left is None:
        return ""
    first, last = left
    size, unit = next((pair for pair in _UNITS if last >= 2 * pair[0]), _UNITS[-1])
    most, least = round(first / size), round(last / size)
    if most == least:
        return f"about {_count(most, unit)} before its end"
    return f"{most} to {_count(least, unit)} before its end"


def _length(lifetime: timedelta) -> str:
    size, unit = next(pair for pair in _UNITS if lifetime >= pair[0])
    return f"{lifetime // size}-{unit}"


def _span(length: timedelta) -> str:
    for size, unit in _UNITS:
        if length >= size and not length % size:
            return _count(length // size, unit)
    return _count(int(length.total_seconds()), "second")


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"
