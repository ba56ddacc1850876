"""Titles, texts and facts of messages, from events and their subjects.

Everything dynamic is cleaned of control, bidi and zero-width characters and cut before it gets here
into a message (06 §7): a name cannot pretend to be something else in a mail or a chat.
"""

from __future__ import annotations

from collections.abc import Mapping

from certctl_core.contracts.errors import safe_text
from certctl_core.contracts.notifiers import MAX_TITLE
from certctl_core.insight.notifications.types import Subject
from certctl_core.kernel.events import JSON, to_json

MAX_TEXT = 4000
MAX_VALUE = 300
_MAX_ITEMS = 20
_ELLIPSIS = "…"

SENTENCES: Mapping[str, str] = {
    "certificate.expired": "The certificate is no longer valid and was not replaced.",
    "certificate.revoked": "The certificate was revoked: relying parties refuse it from now on.",
    "renewal.failed": "The certificate could not be renewed. The present one is still in place.",
    "renewal.succeeded": "A new version of the certificate replaced the old one.",
    "certificate.issued": "A certificate was issued.",
    "deployment.failed": "A certificate could not be brought to its target.",
    "deployment.succeeded": "A certificate was brought to its target.",
    "deployment.rollback_failed": "A deployment failed, and so did its way back: the target may be"
    " left with files that do not fit together.",
    "verification.failed": "The target does not show the certificate that was deployed.",
    "agent.went_offline": "The agent has not been heard of for a while.",
    "agent.returned": "The agent is back.",
    "issuer.certificate_rejected": "The issuer returned something that was not asked for; it was"
    " not stored.",
    "issuer_order.interrupted": "A process ended while an order was with the issuer; the order was"
    " settled at the next start.",
    "ca_key.changed": "The issuer has another CA key than before.",
    "notifier.dead_letter": "A message was given up; it is kept and can be sent again.",
    "notifier.gone": "The receiver asked not to be called again, so the notifier was disabled.",
    "test": "This is a test.",
}
"""What an event means for the reader, where its name alone does not say it."""


def title_of(tag: str, subject: Subject) -> str:
    """One line: what happened, to what."""
    words = tag.replace(".", " ").replace("_", " ")
    what = words[:1].upper() + words[1:]
    name = safe_text(subject.name, MAX_TITLE)
    line = f"{what}: {name}" if name else what
    return line if len(line) <= MAX_TITLE else line[: MAX_TITLE - 1] + _ELLIPSIS


def text_of(tag: str, details: Mapping[str, JSON]) -> str:
    """Some lines: what it means, then the details that the event carries."""
    lines = [SENTENCES[tag], ""] if tag in SENTENCES else []
    for name, value in details.items():
        shown = _shown(value)
        if shown:
            lines.append(f"{_label(name)}: {shown}")
    text = "\n".join(lines).strip()
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + _ELLIPSIS


def facts_of(subject: Subject) -> list[tuple[str, str]]:
    """What is known about the subject, as labels and values."""
    found: list[tuple[str, str]] = []
    certificate, issuer = subject.certificate, subject.issuer
    if certificate is not None:
        end = certificate.not_after
        found += [
            ("Certificate", certificate.name),
            ("Common name", certificate.common_name),
            ("Serial number", certificate.serial),
            ("Valid until", f"{end:%Y-%m-%d %H:%M} UTC" if end else ""),
            ("Environment", certificate.environment),
            ("Profile", certificate.profile),
        ]
    if issuer is not None:
        found.append(("Issuer", issuer.name or issuer.id))
    return [(label, safe_text(value, MAX_VALUE)) for label, value in found if value]


def clean_json(value: JSON) -> JSON:
    """A JSON value whose texts are clean and of limited length."""
    if isinstance(value, str):
        return safe_text(value, MAX_VALUE)
    if isinstance(value, dict):
        return {safe_text(key, 64): clean_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean_json(item) for item in value]
    return value


def _label(name: str) -> str:
    words = name.removesuffix("_id").replace("_", " ")
    return words[:1].upper() + words[1:]


def _shown(value: JSON) -> str:
    """A value on one line; empty for what a person need not read."""
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        parts = [_shown(item) for item in value[:_MAX_ITEMS]]
        more = f" and {len(value) - _MAX_ITEMS} more" if len(value) > _MAX_ITEMS else ""
        return safe_text(", ".join(part for part in parts if part), MAX_VALUE) + more
    if isinstance(value, dict):
        pairs = [f"{_label(key)} {_shown(item)}" for key, item in list(value.items())[:_MAX_ITEMS]]
        return safe_text("; ".join(pairs), MAX_VALUE)
    return safe_text(str(to_json(value)), MAX_VALUE)
