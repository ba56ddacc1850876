"""A notification route in a sentence, and the events that it can name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from certctl_core.insight.notifications import ALL_NOTIFIERS, OWN_TAGS
from certctl_core.kernel.events import Event
from certctl_flask.views.base import Values

_MOST = 4
"""So many of a kind are named in a sentence; of more only the number is told."""


def sentence(route: Values, names: Mapping[str, str]) -> str:
    """What a route does.

    Args:
        route: As the API shows it.
        names: Id → name.
    """
    match = route["match"]
    told = [names.get(item, item) for item in route["notifiers"] if item != ALL_NOTIFIERS]
    if ALL_NOTIFIERS in route["notifiers"]:
        told.insert(0, "Every enabled notifier")
    verb = "is" if len(told) == 1 else "are"
    words = [f"{_listed(told, 'and', 'notifiers')} {verb} told of {_events(match['events'])}"]
    if match["severities"]:
        words.append(f"with severity {_listed(match['severities'], 'or', 'severities')}")
    conditions = [
        f"the {noun} is {_listed([names.get(item, item) for item in match[member]], 'or', plural)}"
        for member, noun, plural in (
            ("environments", "environment", "environments"),
            ("issuer_ids", "issuer", "issuers"),
            ("profile_ids", "profile", "profiles"),
        )
        if match[member]
    ]
    if conditions:
        words.append(f"where {_listed(conditions, 'and', '')}")
    rest = "are looked at as well" if route["continue"] else "are not looked at any more"
    return f"{' '.join(words)}. Then later routes {rest}."


def _events(tags: Sequence[str]) -> str:
    if not tags:
        return "everything"
    said = [f"all {tag[:-2]} events" if tag.endswith(".*") else tag for tag in tags]
    return _listed(said, "and", "kinds of events")


def _listed(items: Sequence[str], word: str, plural: str) -> str:
    """``a``, ``a and b``, ``a, b and c``, ``7 events``."""
    if len(items) > _MOST:
        return f"{len(items)} {plural}"
    *first, last = items
    return f"{', '.join(first)} {word} {last}" if first else last


def event_groups(chosen: Sequence[str]) -> list[Values]:
    """The events that routes can name, by what they are about.

    Args:
        chosen: What the route names now.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for tag, event in sorted(Event.catalogue.items()):
        groups.setdefault(tag.rpartition(".")[0], []).append((tag, event.severity.value))
    found = []
    for noun, events in groups.items():
        tags = {f"{noun}.*", *(tag for tag, _ in events)}
        count = len(tags.intersection(chosen))
        if count or f"{noun}." != OWN_TAGS:
            found.append({"noun": noun, "events": events, "chosen": count})
    return found
