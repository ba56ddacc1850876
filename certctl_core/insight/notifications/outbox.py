"""The outbox: what was emitted becomes notifications and deliveries in the same transaction.

It runs at every commit, so it asks memory first: an ordinary event that no route wants costs two
dictionary look-ups and no query (06 NTF-1, RTE-1).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from certctl_core.contracts.notifiers import CertificateFacts, IssuerFacts, Severity
from certctl_core.insight.notifications import _store
from certctl_core.insight.notifications.aggregate import (
    COLLECTION,
    DELIVERIES,
    STATUS,
    TOTAL,
    UNREAD,
)
from certctl_core.insight.notifications.events import OWN_TAGS, NotifierDeadLetter
from certctl_core.insight.notifications.routes import RouteCache
from certctl_core.insight.notifications.rules import (
    RoutingTable,
    Target,
    alert_of,
    days_left,
    dedup_key,
    severity_of,
)
from certctl_core.insight.notifications.schemas import PreviewedNotifier, RoutePreviewView
from certctl_core.insight.notifications.texts import clean_json, facts_of, text_of, title_of
from certctl_core.insight.notifications.types import (
    DeliveryState,
    Draft,
    NotificationStatus,
    Reason,
    Subject,
)
from certctl_core.kernel.db import Uow
from certctl_core.kernel.errors import NotFound
from certctl_core.kernel.events import JSON, Emitted, Event, to_json
from certctl_core.kernel.ids import Prefix
from certctl_core.lifecycle.certificates import CertificateService
from certctl_core.lifecycle.issuers import IssuerService


class Outbox:
    """Turns events into notifications.

    Args:
        routes: The routing table.
        certificates / issuers: Say what an event is about.
        origin: Names this installation in the keys of incidents: ``certctl/4f0c…``.
    """

    def __init__(
        self,
        *,
        routes: RouteCache,
        certificates: CertificateService,
        issuers: IssuerService,
        origin: str,
    ) -> None:
        self._routes = routes
        self._certificates = certificates
        self._issuers = issuers
        self._origin = origin

    def record(self, uow: Uow, emitted: Sequence[Emitted]) -> None:
        """The at-commit handler: store what people are to be told of."""
        table = self._routes.table(uow, emitted)
        rows: list[Mapping[str, object]] = []
        waiting: list[Mapping[str, object]] = []
        for item in emitted:
            event = item.event
            if event.tag.startswith(OWN_TAGS) or not table.wants(event.tag, event.severity):
                continue
            draft = self._draft(uow, event)
            but = event.resource_id if isinstance(event, NotifierDeadLetter) else None
            targets = table.targets(event.tag, draft.severity, draft.subject, but=but)
            if targets or draft.severity is not Severity.INFO:
                self._add(uow, draft, targets, rows, waiting)
        if rows:
            _store.insert_notifications(uow, rows, waiting)
            uow.touch(COLLECTION)
        if waiting:
            uow.touch(DELIVERIES)
            uow.wake("notify")

    def preview(
        self, uow: Uow, *, event: str, severity: Severity | None, certificate_id: str | None
    ) -> RoutePreviewView:
        """Who would be told if an event happened now; nothing is written.

        Raises:
            CertificateNotFound: There is no such certificate.
        """
        cls = Event.catalogue.get(event)
        loud = severity or (Severity.INFO if cls is None else cls.severity)
        details: dict[str, JSON] = {}
        subject = Subject(name="")
        if certificate_id is not None:
            self._certificates.get(uow, certificate_id)
            subject = self._subject(uow, "certificate", certificate_id, details)
        table = _store.routing_table(uow)
        names = _store.names(uow)
        targets = table.targets(event, loud, subject)
        return RoutePreviewView(
            severity=loud,
            is_stored=bool(targets) or loud is not Severity.INFO,
            notifiers=[_previewed(item, table, names) for item in targets],
        )

    def _draft(self, uow: Uow, event: Event) -> Draft:
        details = event.details()
        subject = self._subject(uow, event.resource_type, event.resource_id, details)
        left = None if subject.certificate is None else subject.certificate.days_left
        certificate = subject.certificate
        resource_id = event.resource_id if certificate is None else certificate.id
        return Draft(
            event=event.tag,
            severity=severity_of(event.tag, event.severity, details, days_left=left),
            alert=alert_of(event.tag),
            title=title_of(event.tag, subject),
            text=text_of(event.tag, details),
            dedup_key=dedup_key(self._origin, resource_id, event.tag),
            subject=subject,
            payload={
                "data": clean_json(to_json(details)),
                "certificate": None if certificate is None else _certificate(certificate),
                "issuer": None if subject.issuer is None else _issuer(subject.issuer),
                "facts": [list(pair) for pair in facts_of(subject)],
            },
        )

    def _subject(
        self, uow: Uow, resource_type: str, resource_id: str, details: Mapping[str, JSON]
    ) -> Subject:
        certificate_id = _named(details, "certificate_id")
        if resource_type == "certificate":
            certificate_id = resource_id
        issuer_id = resource_id if resource_type == "issuer" else _named(details, "issuer_id")
        subject = Subject(
            name=_named(details, "name") or resource_id,
            issuer_id=issuer_id,
            version_id=_named(details, "version_id"),
        )
        if certificate_id is not None:
            with contextlib.suppress(NotFound):
                subject = self._about_certificate(uow, certificate_id, subject, details)
        if subject.issuer_id is not None:
            with contextlib.suppress(NotFound):
                found = self._issuers.get(uow, subject.issuer_id)
                facts = IssuerFacts(id=found.id, name=found.name, kind=found.kind)
                name = found.name if resource_type == "issuer" else subject.name
                subject = replace(subject, issuer=facts, name=name)
        return subject

    def _about_certificate(
        self, uow: Uow, certificate_id: str, subject: Subject, details: Mapping[str, JSON]
    ) -> Subject:
        view = self._certificates.get(uow, certificate_id)
        version_id = subject.version_id or view.current_version_id
        serials = details.get("serials")
        serial = _named(details, "serial_number") or (
            str(serials[0]) if isinstance(serials, list) and serials else ""
        )
        if not serial and version_id is not None:
            with contextlib.suppress(NotFound):
                serial = self._certificates.version(uow, view.id, version_id).serial_number
        facts = CertificateFacts(
            id=view.id,
            name=view.name,
            common_name=view.common_name,
            serial=serial,
            not_after=view.expires_at,
            days_left=days_left(view.expires_at, uow.now),
            environment=view.environment,
            issuer=view.issuer_id,
            profile=view.certificate_profile_id or "",
        )
        return replace(
            subject,
            name=view.name,
            certificate=facts,
            issuer_id=subject.issuer_id or view.issuer_id,
            profile_id=view.certificate_profile_id,
            environment=view.environment,
            version_id=version_id,
        )

    def _add(
        self,
        uow: Uow,
        draft: Draft,
        targets: Sequence[Target],
        rows: list[Mapping[str, object]],
        waiting: list[Mapping[str, object]],
    ) -> None:
        notification_id = uow.new_id(Prefix.NOTIFICATION)
        status = NotificationStatus.PENDING if targets else NotificationStatus.SUPPRESSED
        subject = draft.subject
        rows.append(
            {
                "id": notification_id,
                "event": draft.event,
                "severity": draft.severity,
                "state": draft.alert,
                "status": status,
                "reason": None if targets else Reason.NO_ROUTE,
                "attempts": 0,
                "certificate_id": None if subject.certificate is None else subject.certificate.id,
                "version_id": subject.version_id,
                "issuer_id": subject.issuer_id,
                "profile_id": subject.profile_id,
                "title": draft.title,
                "text": draft.text,
                "payload": draft.payload,
                "dedup_key": draft.dedup_key,
                "created_at": uow.now,
            }
        )
        waiting += [
            {
                "id": uow.new_id(Prefix.DELIVERY),
                "notification_id": notification_id,
                "notifier_id": target.notifier_id,
                "dedup_key": draft.dedup_key,
                "state": DeliveryState.QUEUED,
                "attempts": 0,
                "next_attempt_at": uow.now,
                "created_at": uow.now,
            }
            for target in targets
        ]
        uow.count(TOTAL, 1)
        uow.count(UNREAD, 1)
        uow.count(STATUS + status, 1)


def _previewed(target: Target, table: RoutingTable, names: Mapping[str, str]) -> PreviewedNotifier:
    return PreviewedNotifier(
        id=target.notifier_id,
        name=names[target.notifier_id],
        enabled=table.notifiers[target.notifier_id],
        route_id=target.route.id,
        route_name=target.route.name,
    )


def _named(details: Mapping[str, JSON], name: str) -> str | None:
    value = details.get(name)
    return value if isinstance(value, str) and value else None


def _certificate(facts: CertificateFacts) -> dict[str, JSON]:
    return {
        "id": facts.id,
        "name": _clean(facts.name),
        "common_name": _clean(facts.common_name),
        "serial": facts.serial,
        "not_after": _time(facts.not_after),
        "days_left": facts.days_left,
        "environment": _clean(facts.environment),
        "issuer": facts.issuer,
        "profile": facts.profile,
    }


def _issuer(facts: IssuerFacts) -> dict[str, JSON]:
    return {"id": facts.id, "name": _clean(facts.name), "kind": facts.kind}


def _clean(text: str) -> str:
    return str(clean_json(text))


def _time(moment: datetime | None) -> JSON:
    return None if moment is None else to_json(moment)
