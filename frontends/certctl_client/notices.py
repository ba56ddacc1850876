"""Notifiers and the routes that lead to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from certctl_client.calls import Configured, Documents

if TYPE_CHECKING:
    from certctl_client.types import (
        CreatedNotifier,
        Notifier,
        Report,
        Route,
        RoutePreview,
    )


class Notifiers(Configured["Notifier", "CreatedNotifier"]):
    """Who is told what happens; secrets that the server makes are in the answer to ``create``."""

    NAME = "notifiers"
    PARAMETER = "notifier_id"

    def delete(self, notifier_id: str, *, force: bool = False) -> None:
        """Delete a notifier that no route names; ``force`` cancels what waits for it."""
        self._one("delete", notifier_id, query={"force": force})

    def test(self, notifier_id: str, *, send: bool = False) -> Report:
        """Let the server connect, or with ``send`` deliver a message that is marked as a test."""
        return cast("Report", self._one("test", notifier_id, body={"send": send}))


class NotificationRoutes(Documents["Route"]):
    """Which events go to which notifiers."""

    NAME = "notification_routes"
    PARAMETER = "route_id"

    def preview(
        self, event: str, *, severity: str | None = None, certificate_id: str | None = None
    ) -> RoutePreview:
        """Say who would be told of an event; nothing is sent.

        Args:
            event: ``certificate.expiring`` …
            severity: ``info``, ``warning`` or ``critical``; the event's own when None.
            certificate_id: Which certificate it is about.

        Raises:
            APIError: ``certificate_not_found`` …
        """
        body: Mapping[str, object] = {
            "event": event,
            "severity": severity,
            "certificate_id": certificate_id,
        }
        return cast("RoutePreview", self._calls.call("notification_routes.preview", body=body))
