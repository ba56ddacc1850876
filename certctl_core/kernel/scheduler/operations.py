"""The use cases of loops and replicas, as data."""

from __future__ import annotations

from typing import cast

from certctl_core.kernel.db import Uow
from certctl_core.kernel.operations import Call, Operation, Transaction
from certctl_core.kernel.scheduler.errors import LoopNotFound, LoopRunning
from certctl_core.kernel.scheduler.schemas import (
    LoopListView,
    LoopRequestedView,
    LoopView,
    ReplicaListView,
)
from certctl_core.kernel.scheduler.service import SchedulerService


def operations(service: SchedulerService) -> tuple[Operation, ...]:
    """Declare the lists of loops and replicas, one loop, and a run on demand."""

    def uow(call: Call) -> Uow:
        return cast("Uow", call.uow)

    def request(call: Call) -> LoopRequestedView:
        service.request(uow(call), call.path["name"])
        return LoopRequestedView(status="loop_requested", name=call.path["name"])

    return (
        Operation(
            name="loops.list",
            method="GET",
            path="/admin/loops",
            summary="List the background loops and how they fared",
            permission="system.read",
            output=LoopListView,
            transaction=Transaction.READ,
            run=lambda call: service.loops(uow(call)),
        ),
        Operation(
            name="loops.get",
            method="GET",
            path="/admin/loops/{name}",
            summary="Show a background loop and its newest runs",
            permission="system.read",
            output=LoopView,
            errors=(LoopNotFound,),
            transaction=Transaction.READ,
            run=lambda call: service.loop(uow(call), call.path["name"]),
        ),
        Operation(
            name="loops.run",
            method="POST",
            path="/admin/loops/{name}/run",
            summary="Ask for a run of a background loop now",
            permission="system.admin",
            output=LoopRequestedView,
            status=202,
            errors=(LoopNotFound, LoopRunning),
            run=request,
        ),
        Operation(
            name="replicas.list",
            method="GET",
            path="/admin/replicas",
            summary="List the server processes",
            permission="system.read",
            output=ReplicaListView,
            transaction=Transaction.READ,
            run=lambda call: service.replicas(uow(call)),
        ),
    )
