"""From a claimed delivery to the message that a plugin sends."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from certctl_core.contracts.notifiers import CertificateFacts, IssuerFacts, Message
from certctl_core.insight.notifications.types import Claimed


def message_of(item: Claimed, *, public_url: str) -> Message:
    """The message of a delivery: the same at every attempt.

    Args:
        item: The delivery with its notification.
        public_url: Where this installation is reached; without it there are no links.
    """
    payload: Mapping[str, Any] = item.payload
    certificate, issuer = payload.get("certificate"), payload.get("issuer")
    return Message(
        id=item.notification_id,
        delivery_id=item.id,
        event=item.event,
        severity=item.severity,
        state=item.alert,
        title=item.title,
        text=item.text,
        facts=tuple((str(label), str(value)) for label, value in payload.get("facts") or ()),
        links=_links(item, public_url.rstrip("/")),
        certificate=None if certificate is None else _certificate(certificate),
        issuer=None if issuer is None else IssuerFacts(**issuer),
        data=payload.get("data") or {},
        dedup_key=item.dedup_key,
        occurred_at=item.occurred_at,
    )


def _certificate(stored: Mapping[str, Any]) -> CertificateFacts:
    end = stored.get("not_after")
    return CertificateFacts(
        **{**stored, "not_after": None if end is None else datetime.fromisoformat(end)}
    )


def _links(item: Claimed, base: str) -> tuple[tuple[str, str], ...]:
    if not base:
        return ()
    links = [("notifications", f"{base}/ui/notifications")]
    if item.certificate_id is not None:
        links.insert(0, ("certificate", f"{base}/ui/certificates/{item.certificate_id}"))
    return tuple(links)
