"""Filters and functions of the templates: times, states, links, sizes.

Templates are given what the REST API answers (times as RFC 3339 text), so every filter takes that
form as well as the Python value. ``install`` puts them into any Jinja environment. The template
context must hold ``now`` (aware, UTC) and ``prefs`` (see ``when``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Environment, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

Scalar = str | int | float | bool | None

_TONES = {
    "good": (
        "Active Completed Online Managed Enabled sent healthy "
        "success ready current verified deployed ok good fresh enabled active member"
    ),
    "warning": (
        "Expiring Running Degraded Unmanaged Investigating pending retrying degraded "
        "cert_mismatch warning previous held stale retiring due"
    ),
    "bad": (
        "Expired Revoked Failed Offline failed dead down "
        "failing unavailable unusable compromised critical rolled_back error revoked"
    ),
    "info": (
        "Pending AwaitingCSR AwaitingApproval AwaitingIssuer RenewalInProgress "
        "info queued sending unread created"
    ),
}
TONES: Mapping[str, str] = {word: tone for tone, words in _TONES.items() for word in words.split()}
"""State → tone. The words of spec 01 UI-05 first, then those of the other rooms; the rest is
neutral."""

_LABELS = {
    "RenewalInProgress": "Renewing",
    "RevocationNotice": "Revocation notice",
    "AwaitingCSR": "Awaiting CSR",
    "AwaitingApproval": "Awaiting approval",
    "AwaitingIssuer": "Awaiting issuer",
    "cert_mismatch": "Certificate mismatch",
    "rolled_back": "Rolled back",
}

_SPELT = "ACME API CA CRL CSR DNS DR EKU EST ID IP OCSP SAN SCEP TLS TTL URL URLs"
_ACRONYMS = {word.lower(): word for word in _SPELT.split()}

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SOON_DAYS, _NEAR_DAYS = 7, 30
_UNITS = ((365 * _DAY, "y"), (_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"), (1, "s"))


def instant(value: datetime | str | None) -> datetime | None:
    """Read a time of the API; None and "" stay None."""
    if not value:
        return None
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def duration(seconds: float, parts: int = 2) -> str:
    """Write a length of time: ``90 d``, ``1 h 30 min``; at most ``parts`` units."""
    rest, words = int(abs(seconds)), []
    for size, unit in _UNITS:
        if unit == "y" and rest < 2 * size:
            continue  # 390 days say more than "1 y 25 d"
        count, rest = divmod(rest, size)
        if count:
            words.append(f"{count} {unit}")
        elif words:
            break
        if len(words) == parts:
            break
    return " ".join(words) or "0 s"


def relative(moment: datetime, now: datetime) -> str:
    """Say how far away a time is: ``in 12 days``, ``3 h ago``, ``just now``."""
    seconds = (moment - now).total_seconds()
    size = abs(seconds)
    if size < _MINUTE:
        return "just now" if seconds <= 0 else "in a moment"
    if size < _HOUR:
        text = f"{int(size // _MINUTE)} min"
    elif size < 2 * _DAY:
        text = f"{int(size // _HOUR)} h"
    else:
        text = f"{int(size // _DAY)} days"
    return f"in {text}" if seconds > 0 else f"{text} ago"


def absolute(moment: datetime, zone: str = "UTC") -> str:
    """Write a time in a zone, to the minute: ``2027-02-23 14:05 UTC``."""
    try:
        shown = moment.astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        shown = moment.astimezone(UTC)
    return f"{shown:%Y-%m-%d %H:%M %Z}"


@pass_context
def when(context: Context, value: datetime | str | None, form: str = "", empty: str = "–") -> str:
    """Show a time as ``<time>``, the way the reader chose (spec 01 UI-06).

    Args:
        context: Holds ``now`` and ``prefs.times``: ``relative``, ``local``, ``utc`` or an IANA
            zone. ``local`` is the browser's zone: written in UTC, put right by the script.
        value: The time.
        form: Overrides the preference: ``relative``, ``utc`` or ``date``.
        empty: What to show without a time.
    """
    moment = instant(value)
    if moment is None:
        return empty
    choice = form or str(context["prefs"]["times"])
    in_utc = f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    if choice == "date":
        text, mark = f"{moment:%d %b %Y}", "date"
    elif choice == "relative":
        text, mark = relative(moment, context["now"]), "relative"
    elif choice in {"utc", "local"}:
        text, mark = absolute(moment), choice
    else:
        text, mark = absolute(moment, choice), "zone"
    iso = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    return Markup('<time datetime="{}" title="{}" data-time="{}">{}</time>').format(
        iso, in_utc, mark, text
    )


@pass_context
def days_left(context: Context, value: datetime | str | None) -> int | None:
    """Whole days until a time; negative once it is over."""
    moment = instant(value)
    return None if moment is None else (moment - context["now"]) // timedelta(days=1)


@pass_context
def urgency(context: Context, value: datetime | str | None) -> str:
    """Tone of an expiry: ``bad`` when over or within a week, ``warning`` within 30 days."""
    left = days_left(context, value)
    if left is None:
        return "neutral"
    return "bad" if left < _SOON_DAYS else "warning" if left < _NEAR_DAYS else "good"


def elapsed(start: datetime | str, end: datetime | str, at: datetime | str) -> float:
    """How much of a span is over at a time, in percent with one decimal, kept within 0–100."""
    first, last, moment = instant(start), instant(end), instant(at)
    if first is None or last is None or moment is None or last <= first:
        return 0.0
    return share((moment - first).total_seconds(), (last - first).total_seconds())


def share(part: float, whole: float) -> float:
    """Percent with one decimal, kept within 0–100; 0 of nothing is 0."""
    return round(min(max(100 * part / whole, 0.0), 100.0), 1) if whole else 0.0


def tone(state: Scalar) -> str:
    """Map a state to ``good``, ``warning``, ``bad``, ``info`` or ``neutral`` (spec 01 UI-05)."""
    return TONES.get(str(state), "neutral")


def label(state: Scalar) -> str:
    """Write a state for people: ``AwaitingCSR`` → ``Awaiting CSR``, ``sent`` → ``Sent``."""
    text = str(state)
    if text in _LABELS:
        return _LABELS[text]
    words = text.replace("_", " ").split(" ")
    spelt = [_ACRONYMS.get(word.lower(), word) for word in words]
    return " ".join([spelt[0][:1].upper() + spelt[0][1:], *spelt[1:]])


def number(value: float) -> str:
    """Group thousands with a narrow space: ``12 345``."""
    return f"{value:,}".replace(",", "\u202f")


def hex_pairs(value: str) -> Markup:
    """Write hexadecimal in upper-case pairs, as certificate viewers do; lines break after a colon."""
    pairs = (value[at : at + 2].upper() for at in range(0, len(value), 2))
    return Markup(":<wbr>").join(pairs)


def short_hex(value: str, ends: int = 8) -> str:
    """Keep both ends of a long hexadecimal value: ``3fa0c2d1…77b09e12``."""
    return value if len(value) <= 2 * ends + 2 else f"{value[:ends]}…{value[-ends:]}"


def initials(name: str) -> str:
    """Two letters for the account mark."""
    words = [word for word in name.replace("-", " ").replace("_", " ").split() if word.isalnum()]
    letters = "".join(word[0] for word in words[:2]) or name[:2]
    return letters.upper() or "?"


def san_kind(value: str) -> str:
    """Tell a subject alternative name by its form: ``URI``, ``Email``, ``IP`` or ``DNS``."""
    if "://" in value:
        return "URI"
    if "@" in value:
        return "Email"
    digits = value.replace(".", "")
    return "IP" if ":" in value or (value.count(".") == 3 and digits.isdigit()) else "DNS"  # noqa: PLR2004 - four octets have three dots


def link(path: str, query: Mapping[str, object], **changes: Scalar) -> str:
    """Build the address of a list with some of its parameters changed.

    Args:
        path: The page, e.g. ``/ui/certificates``.
        query: ``tab``, ``q``, ``sort``, ``page_size``, ``cursor`` and ``filters`` (name → value).
        changes: New values; None removes. A name that is none of the first five is a filter.
            Any change but ``cursor`` starts again at the first page.
    """
    plain: dict[str, Scalar] = {
        name: query.get(name)  # type: ignore[misc] # the page's own parameters are scalars
        for name in ("tab", "q", "sort", "page_size", "cursor")
    }
    filters: dict[str, Scalar] = dict(query.get("filters") or {})  # type: ignore[call-overload] # a mapping by contract
    if changes.keys() - {"cursor"}:
        plain["cursor"] = None
    for name, value in changes.items():
        (plain if name in plain else filters)[name] = value
    pairs = [(name, str(value)) for name, value in plain.items() if value not in {None, ""}]
    pairs += [
        (f"filter[{name}]", str(value))
        for name, value in filters.items()
        if value not in {None, "", False}
    ]
    return f"{path}?{urlencode(pairs, safe='[]')}" if pairs else path


def first_or_none(items: Sequence[object]) -> object | None:
    """The first item, or None: Jinja's own ``first`` gives an undefined value."""
    return items[0] if items else None


def install(environment: Environment) -> None:
    """Add every filter and function of this module to a Jinja environment."""
    environment.filters.update(
        {
            "when": when,
            "days_left": days_left,
            "urgency": urgency,
            "duration": duration,
            "tone": tone,
            "label": label,
            "number": number,
            "hex_pairs": hex_pairs,
            "short_hex": short_hex,
            "initials": initials,
            "san_kind": san_kind,
            "instant": instant,
            "first_or_none": first_or_none,
        }
    )
    environment.globals.update({"link": link, "elapsed": elapsed, "share": share})
