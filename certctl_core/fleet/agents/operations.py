"""The use cases of the agents room, as data. Work, CSR and reports: the deployments room."""

from __future__ import annotations

from typing import cast

from certctl_core.fleet.agents.errors import (
    AgentHasDependencies,
    AgentMismatch,
    AgentNameTaken,
    AgentNotFound,
    AgentRetired,
    EnrollmentTokenInvalid,
    EnrollmentTokenNotFound,
    RetireReasonMissing,
    TooManyEnrollments,
)
from certctl_core.fleet.agents.schemas import (
    AgentBody,
    AgentKeyView,
    AgentQuery,
    AgentView,
    CreateEnrollmentToken,
    EnrollAgent,
    EnrolledView,
    EnrollmentTokenQuery,
    EnrollmentTokenView,
    Heartbeat,
    HeartbeatView,
    NewAgentView,
    NewEnrollmentTokenView,
    PatchAgent,
    RegisterAgent,
    RetiredView,
    RetireQuery,
)
from certctl_core.fleet.agents.service import AgentService
from certctl_core.fleet.agents.workflow import AgentWorkflow
from certctl_core.kernel.db import Uow
from certctl_core.kernel.errors import PreconditionFailed
from certctl_core.kernel.operations import (
    Accepted,
    Access,
    Call,
    Operation,
    Transaction,
    merge_patch,
)

_SORTS = ("registered_at", "created_at", "name", "hostname", "status")


def operations(*, service: AgentService, workflow: AgentWorkflow) -> tuple[Operation, ...]:
    """Declare enrollment, tokens, the agent list, retirement and the heartbeat."""

    def uow(call: Call) -> Uow:
        return cast("Uow", call.uow)

    def key(call: Call) -> str:
        return call.path["agent_id"]

    def patch(call: Call) -> AgentView:
        current = service.get(uow(call), key(call))
        assert call.body is not None  # noqa: S101 - the dispatcher has validated it
        body = merge_patch(AgentBody, current, call.body)
        return service.update(uow(call), key(call), body, if_match=call.if_match)

    def retire(call: Call) -> RetiredView | Accepted:
        view = service.retire(uow(call), key(call), cast("RetireQuery", call.query))
        return view or Accepted(status=204)

    return (
        Operation(
            name="agents.enroll",
            method="POST",
            path="/agents/enroll",
            summary="Enroll an agent with an enrollment token",
            access=Access.PUBLIC,
            body=EnrollAgent,
            output=EnrolledView,
            status=201,
            errors=(EnrollmentTokenInvalid, AgentNameTaken, TooManyEnrollments),
            shows_secret=True,
            run=lambda call: service.enroll(
                uow(call), cast("EnrollAgent", call.body), source_address=call.client_ip
            ),
        ),
        Operation(
            name="enrollment_tokens.create",
            method="POST",
            path="/agent-enrollment-tokens",
            summary="Make an enrollment token",
            permission="agent.enroll",
            body=CreateEnrollmentToken,
            output=NewEnrollmentTokenView,
            status=201,
            shows_secret=True,
            run=lambda call: service.tokens.create(
                uow(call), cast("CreateEnrollmentToken", call.body)
            ),
        ),
        Operation(
            name="enrollment_tokens.list",
            method="GET",
            path="/agent-enrollment-tokens",
            summary="List enrollment tokens",
            permission="agent.enroll",
            query=EnrollmentTokenQuery,
            output=EnrollmentTokenView,
            is_list=True,
            # No version stamp: a token ends by time alone.
            sorts=("created_at", "expires_at", "label"),
            transaction=Transaction.READ,
            run=lambda call: service.tokens.page(
                uow(call), cast("EnrollmentTokenQuery", call.query)
            ),
        ),
        Operation(
            name="enrollment_tokens.revoke",
            method="DELETE",
            path="/agent-enrollment-tokens/{token_id}",
            summary="Revoke an enrollment token",
            permission="agent.enroll",
            status=204,
            is_destructive=True,
            errors=(EnrollmentTokenNotFound,),
            run=lambda call: service.tokens.revoke(uow(call), call.path["token_id"]),
        ),
        Operation(
            name="agents.list",
            method="GET",
            path="/agents",
            summary="List agents",
            permission="agent.read",
            query=AgentQuery,
            output=AgentView,
            is_list=True,
            collection="agents",
            sorts=_SORTS,
            transaction=Transaction.READ,
            run=lambda call: service.page(uow(call), cast("AgentQuery", call.query)),
        ),
        Operation(
            name="agents.list_retired",
            method="GET",
            path="/agents/retired",
            summary="List retired agents",
            permission="agent.read",
            query=AgentQuery,
            output=AgentView,
            is_list=True,
            collection="agents",
            sorts=(*_SORTS, "retired_at"),
            transaction=Transaction.READ,
            run=lambda call: service.page(uow(call), cast("AgentQuery", call.query), retired=True),
        ),
        Operation(
            name="agents.create",
            method="POST",
            path="/agents",
            summary="Register an agent ahead of its first contact",
            permission="agent.edit",
            body=RegisterAgent,
            output=NewAgentView,
            status=201,
            errors=(AgentNameTaken,),
            shows_secret=True,
            run=lambda call: service.register(uow(call), cast("RegisterAgent", call.body)),
        ),
        Operation(
            name="agents.get",
            method="GET",
            path="/agents/{agent_id}",
            summary="Show an agent",
            permission="agent.read",
            output=AgentView,
            errors=(AgentNotFound,),
            transaction=Transaction.READ,
            run=lambda call: service.get(uow(call), key(call)),
        ),
        Operation(
            name="agents.update",
            method="PATCH",
            path="/agents/{agent_id}",
            summary="Change name or labels of an agent",
            permission="agent.edit",
            body=PatchAgent,
            output=AgentView,
            errors=(AgentNotFound, AgentNameTaken, AgentRetired, PreconditionFailed),
            run=patch,
        ),
        Operation(
            name="agents.retire",
            method="DELETE",
            path="/agents/{agent_id}",
            summary="Retire an agent for good",
            permission="agent.retire",
            query=RetireQuery,
            output=RetiredView,
            also_statuses=(204,),
            errors=(AgentNotFound, AgentHasDependencies, RetireReasonMissing),
            is_destructive=True,
            run=retire,
        ),
        Operation(
            name="agents.rotate_key",
            method="POST",
            path="/agents/{agent_id}/rotate-key",
            summary="Give an agent a new credential",
            access=Access.AUTHENTICATED,
            output=AgentKeyView,
            errors=(AgentNotFound, AgentRetired),
            transaction=Transaction.NONE,
            shows_secret=True,
            run=workflow.rotate_key,
        ),
        Operation(
            name="agents.heartbeat",
            method="POST",
            path="/agents/{agent_id}/heartbeat",
            summary="Report a sign of life (the agent itself)",
            permission="agent.heartbeat",
            body=Heartbeat,
            output=HeartbeatView,
            errors=(AgentMismatch, AgentRetired),
            transaction=Transaction.NONE,
            run=lambda call: workflow.heartbeat(call, cast("Heartbeat", call.body)),
        ),
    )
