"""The notifications room beside an installation, and receivers on the loopback interface."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import sqlalchemy as sa

from certctl_core.api import Dispatcher, OperationTable
from certctl_core.app import Core
from certctl_core.contracts.host.contexts import product
from certctl_core.contracts.host.http import PluginHttp
from certctl_core.insight.notifications import (
    DeliveryRules,
    DeliveryWorker,
    NotificationService,
    NotifierParts,
    NotifierService,
    NotifierWorkflow,
    Outbox,
    RouteCache,
    RouteService,
)
from certctl_core.insight.notifications.handlers import register
from certctl_core.insight.notifications.loops import deliver
from certctl_core.insight.notifications.operations import operations
from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.db import ChangeFeed, UnitOfWorkFactory, Uow
from certctl_core.kernel.events import Bus, Emitted, Event
from certctl_core.kernel.net import EgressPolicy
from certctl_core.lifecycle.certificates import CreateCertificate, RenewalFailed
from certctl_core.people.access import CATALOGUE
from certctl_core.testing.fakes import FakeClock
from tests.machine import PATIENCE_SECONDS

ADMIN = Actor(type=ActorType.SYSTEM, id="test")
PATIENCE = timedelta(seconds=PATIENCE_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One POST as it came in."""

    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    def is_signed_with(self, secret: str) -> bool:
        """Whether a signature is right, computed as Standard Webhooks 1.0.0 says."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        stamp, message_id = self.headers["webhook-timestamp"], self.headers["webhook-id"]
        signed = f"{message_id}.{stamp}.".encode() + self.body
        digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return f"v1,{digest}" in self.headers["webhook-signature"].split(" ")


@dataclass
class Receiver:
    """A webhook receiver on a real socket.

    Attributes:
        status: What it answers.
        answer_headers: Headers of its answers.
        open: While cleared, it takes requests and does not answer.
    """

    url: str = ""
    status: int = 204
    answer_headers: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    on_receive: Callable[[], None] | None = None

    def events(self) -> list[str]:
        return [item.json()["type"] for item in self.received]


@pytest.fixture
def receiver_of() -> Iterator[Callable[[], Receiver]]:
    """Make receivers; all are shut down after the test."""
    servers: list[tuple[ThreadingHTTPServer, Receiver, threading.Thread]] = []

    def make() -> Receiver:
        receiver = Receiver()
        receiver.open.set()

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.answer()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.received.append(Received(headers=headers, body=body))
                receiver.arrived.release()
                if receiver.on_receive is not None:
                    receiver.on_receive()
                receiver.open.wait(PATIENCE_SECONDS)
                self.answer()

            def answer(self) -> None:
                self.send_response(receiver.status)
                for name, value in receiver.answer_headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        servers.append((server, receiver, thread))
        return receiver

    yield make
    for server, receiver, thread in servers:
        receiver.open.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture
def receiver(receiver_of: Callable[[], Receiver]) -> Receiver:
    return receiver_of()


class Room:
    """One process of an installation, as far as notifications go."""

    def __init__(self, core: Core, clock: FakeClock) -> None:
        self.core = core
        self.clock = clock
        self.bus: Bus[Uow] = Bus()
        self.units = UnitOfWorkFactory(core.database, clock=clock, bus=self.bus)
        self.feed = ChangeFeed(core.database, clock=clock)
        self.units.on_wake = self.feed.wake
        http = EgressPolicy(allow=core.settings.outbound.allow)
        self.notifiers = NotifierService(
            parts=NotifierParts(
                kinds=core.plugins.notifiers,
                units=self.units,
                clock=clock,
                keyring=core.keyring,
                http=lambda: PluginHttp(http, clock=clock, user_agent=product()),
                lookup=lambda reference: reference.path,
                public_url="https://certctl.example.com",
            ),
            feed=self.feed,
        )
        self.workflow = NotifierWorkflow(service=self.notifiers, units=self.units)
        self.routes = RouteService()
        self.cache = RouteCache(clock=clock, feed=self.feed)
        self.outbox = Outbox(
            routes=self.cache,
            certificates=core.rooms.certificates,
            issuers=core.rooms.issuers,
            origin="certctl/test",
        )
        self.inbox = NotificationService()
        self.emitted: list[Emitted] = []
        self.bus.at_commit(lambda _uow, emitted: self.emitted.extend(emitted))
        register(self.bus, self.outbox)
        self.woken = 0
        self.feed.subscribe("notify", self._note_wake)
        self.workers: list[DeliveryWorker] = []
        self.worker = self.new_worker("one")
        table = OperationTable(
            operations(
                notifications=self.inbox,
                notifiers=self.notifiers,
                workflow=self.workflow,
                routes=self.routes,
                outbox=self.outbox,
            ),
            permissions=CATALOGUE,
        )
        self.dispatcher = Dispatcher(table, units=self.units, access=core.rooms.access)
        with self.units.begin(ADMIN) as uow:
            self.routes.seed(uow)

    def _note_wake(self) -> None:
        self.woken += 1

    def new_worker(self, holder: str, **rules: Any) -> DeliveryWorker:
        worker = DeliveryWorker(
            units=self.units,
            clock=self.clock,
            notifiers=self.notifiers,
            inbox=self.inbox,
            holder=holder,
            rules=DeliveryRules(**rules),
            rng=random.Random(7),
        )
        self.workers.append(worker)
        return worker

    def call(
        self, name: str, *, actor: Actor = ADMIN, if_match: int | None = None, **members: Any
    ) -> Any:
        """Run an operation: ids as ``notifier_id=…``, the rest as ``body=`` and ``query=``."""
        body, query = members.pop("body", None), members.pop("query", None)
        return self.dispatcher.call(
            name, actor=actor, path=members, body=body, query=query, if_match=if_match
        )

    def webhook(self, receiver: Receiver, name: str = "Hook", **config: object) -> Any:
        body = {"name": name, "kind": "webhook", "config": {"url": receiver.url, **config}}
        return self.call("notifiers.create", body=body)

    def certificate(self, name: str = "web.example.com", **members: Any) -> str:
        """A managed certificate that was never issued; its id."""
        body = CreateCertificate(name=name, common_name=name, **members)
        with self.units.begin(ADMIN) as uow:
            made = self.core.rooms.certificates.create(uow, body, issuer_id="iss-local")
        return made.id

    def emit(self, *events: Event) -> None:
        with self.units.begin(ADMIN) as uow:
            for event in events:
                uow.emit(event)

    def fail_renewal(self, certificate_id: str, message: str = "no answer") -> None:
        self.emit(failed(certificate_id, message))

    def deliver(self) -> int:
        return deliver(self.worker, wait=PATIENCE)

    def notifications(self, **query: object) -> Sequence[Any]:
        page = self.call("notifications.list", query=query)
        found: Sequence[Any] = page.data
        return found

    def deliveries(self, **query: object) -> Sequence[Any]:
        page = self.call("notification_deliveries.list", query=query)
        found: Sequence[Any] = page.data
        return found

    def tags(self) -> list[str]:
        return [item.event.tag for item in self.emitted]

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = self.call("notifications.counts").model_dump()
        return found

    def statements(self) -> list[str]:
        """From now on, the SQL that the writer runs is appended to the list."""
        seen: list[str] = []
        sa.event.listen(
            self.core.database.writer,
            "before_cursor_execute",
            lambda *arguments: seen.append(str(arguments[2])),
        )
        return seen

    def close(self) -> None:
        for worker in self.workers:
            worker.stop(timedelta(seconds=5))
        self.notifiers.close()
        self.feed.stop()


def failed(certificate_id: str, message: str = "no answer") -> RenewalFailed:
    return RenewalFailed(resource_id=certificate_id, error_code="upstream_timeout", message=message)


@pytest.fixture
def room(core: Core, clock: FakeClock) -> Iterator[Room]:
    made = Room(core, clock)
    yield made
    made.close()
