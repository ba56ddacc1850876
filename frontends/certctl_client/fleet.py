"""Jobs, agents and their enrollment tokens, targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from certctl_client.calls import Collection, Listed, Page

if TYPE_CHECKING:
    from certctl_client.types import (
        Agent,
        EnrollmentToken,
        Job,
        JobStatusAnswer,
        LinkedTarget,
        NewEnrollmentToken,
        Retired,
        Target,
        TestStarted,
    )

OPEN_JOB_STATES = frozenset(
    {"Pending", "AwaitingCSR", "AwaitingApproval", "AwaitingIssuer", "Running"}
)
"""A job in another state has ended (spec 01 §7)."""


class Jobs(Collection["Job"]):
    """What is done in the background."""

    NAME = "jobs"
    PARAMETER = "job_id"

    def cancel(self, job_id: str) -> JobStatusAnswer:
        """Cancel an unfinished job.

        Raises:
            APIError: ``job_wrong_state`` when it has ended.
        """
        return cast("JobStatusAnswer", self._one("cancel", job_id))

    def retry(self, job_id: str) -> Job:
        """Run a failed job again at once."""
        return cast("Job", self._one("retry", job_id))


class Agents(Collection["Agent"]):
    """The programs that hold keys and deploy certificates on their hosts."""

    NAME = "agents"
    PARAMETER = "agent_id"

    def list_retired(self, *, cursor: str | None = None, page_size: int = 100) -> Page[Agent]:
        """One page of those that are retired."""
        return self._calls.page("agents.list_retired", cursor=cursor, page_size=page_size)

    def retire(self, agent_id: str, *, force: bool = False, reason: str = "") -> Retired | None:
        """Retire an agent; its credential ends.

        Args:
            agent_id: Which.
            force: Retire its targets and cancel its jobs, too; needs a reason.
            reason: Kept with it.

        Returns:
            What hung on it, or None when it was retired before.

        Raises:
            APIError: ``blocked_by_dependencies`` with ``extra["counts"]``.
        """
        query = {"force": force, "reason": reason or None}
        return cast("Retired | None", self._one("retire", agent_id, query=query))


class EnrollmentTokens(Listed["EnrollmentToken"]):
    """What lets an agent introduce itself."""

    NAME = "enrollment_tokens"
    PARAMETER = "token_id"

    def create(
        self,
        label: str,
        *,
        expires_in_seconds: int = 86400,
        max_uses: int = 1,
        agent_labels: Mapping[str, str] | None = None,
        name_pattern: str | None = None,
    ) -> NewEnrollmentToken:
        """Make a token.

        Args:
            label: What it is for.
            expires_in_seconds: Its life.
            max_uses: How many agents may enroll with it.
            agent_labels: Given to those agents.
            name_pattern: Agents must be named like this (``web-*``).

        Returns:
            The token; ``token`` is shown this once.
        """
        body = {
            "label": label,
            "expires_in_seconds": expires_in_seconds,
            "max_uses": max_uses,
            "agent_labels": dict(agent_labels or {}),
            "name_pattern": name_pattern,
        }
        return cast("NewEnrollmentToken", self._create(body))

    def revoke(self, token_id: str) -> None:
        """End a token at once."""
        self._one("revoke", token_id)


class Targets(Collection["Target"]):
    """What certificates are deployed to."""

    NAME = "targets"
    PARAMETER = "target_id"

    def create(
        self,
        name: str,
        *,
        kind: str,
        agent_id: str,
        config: Mapping[str, object],
        enabled: bool = True,
    ) -> Target:
        """Make a target.

        Args:
            name: Unique among the targets of the agent.
            kind: An installed kind, ``nginx``.
            agent_id: The agent that drives it.
            config: By the kind's schema.
            enabled: Whether it gets deployments.
        """
        body = {
            "name": name,
            "kind": kind,
            "agent_id": agent_id,
            "config": dict(config),
            "enabled": enabled,
        }
        return cast("Target", self._create(body))

    def update(
        self, target_id: str, changes: Mapping[str, object], *, version: int | None = None
    ) -> Target:
        """Change members; ``version`` makes the change conditional on it (412 otherwise)."""
        return cast("Target", self._update(target_id, changes, version))

    def delete(self, target_id: str, *, force: bool = False) -> None:
        """Delete a target; ``force`` unlinks its certificates first."""
        self._one("delete", target_id, query={"force": force})

    def test(self, target_id: str) -> TestStarted:
        """Let its agent check that deployments would work; the job has the result."""
        return cast("TestStarted", self._one("test", target_id))

    def of_certificate(
        self, certificate_id: str, *, cursor: str | None = None, page_size: int = 100
    ) -> Page[LinkedTarget]:
        """One page of the targets that a certificate is deployed to."""
        return self._calls.page(
            "certificates.targets",
            path={"certificate_id": certificate_id},
            cursor=cursor,
            page_size=page_size,
        )

    def link(self, certificate_id: str, target_id: str, *, auto_deploy: bool = True) -> None:
        """Deploy a certificate to a target, each new version by itself with ``auto_deploy``."""
        self._calls.call(
            "certificates.link_target",
            path={"certificate_id": certificate_id, "target_id": target_id},
            body={"auto_deploy": auto_deploy},
        )

    def unlink(self, certificate_id: str, target_id: str) -> None:
        """Deploy a certificate to a target no longer; what lies there stays."""
        self._calls.call(
            "certificates.unlink_target",
            path={"certificate_id": certificate_id, "target_id": target_id},
        )
