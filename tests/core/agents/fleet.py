"""An installation with its fleet, for the tests of agents, targets and deployments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from certctl_core.app import Core
from certctl_core.fleet.agents import AgentService, AgentWorkflow
from certctl_core.fleet.deployments import DeploymentService
from certctl_core.fleet.targets import TargetService
from certctl_core.kernel.actors import SYSTEM, Actor, ActorType
from certctl_core.kernel.secrets import Secret
from certctl_core.lifecycle.certificates import CertificateView
from certctl_core.testing.factories import make_csr
from certctl_core.testing.fakes import FakeClock

NGINX = {"cert_path": "/etc/nginx/tls/web.crt", "key_path": "/etc/nginx/tls/web.key"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What the tests of the fleet talk to."""

    core: Core
    clock: FakeClock

    @property
    def agents(self) -> AgentService:
        return self.core.rooms.agents

    @property
    def targets(self) -> TargetService:
        return self.core.rooms.targets

    @property
    def deployments(self) -> DeploymentService:
        return self.core.rooms.deployments

    @property
    def agent_side(self) -> AgentWorkflow:
        return self.core.rooms.agent_workflow

    def call(self, name: str, *, actor: Actor = SYSTEM, **parts: Any) -> Any:
        return self.core.call(name, actor=actor, **parts)

    def token(self, **members: object) -> str:
        body = {"label": "test", **members}
        return str(self.call("enrollment_tokens.create", body=body).token)

    def enroll(self, name: str = "web-1", token: str | None = None, **members: object) -> Any:
        body = {
            "token": Secret(token or self.token()),
            "name": name,
            "hostname": f"{name}.example.test",
            **members,
        }
        return self.call("agents.enroll", body=body, actor=Actor(type=ActorType.ANONYMOUS, id=""))

    def agent(self, name: str = "web-1") -> Actor:
        """Enroll an agent and authenticate it by its key."""
        enrolled = self.enroll(name)
        return self.core.keys.authenticate(enrolled.api_key)

    def target(self, agent: Actor, name: str = "nginx", **members: Any) -> str:
        body = {
            "name": name,
            "kind": "nginx",
            "agent_id": agent.id,
            "config": NGINX,
            **members,
        }
        return str(self.call("targets.create", body=body).id)

    def certificate(self, name: str = "web.example.test", **members: object) -> CertificateView:
        view: CertificateView = self.call(
            "certificates.create", body={"common_name": name, **members}
        )
        return view

    def get(self, certificate_id: str) -> CertificateView:
        view: CertificateView = self.call(
            "certificates.get", path={"certificate_id": certificate_id}
        )
        return view

    def link(self, certificate_id: str, target_id: str, **body: object) -> None:
        path = {"certificate_id": certificate_id, "target_id": target_id}
        self.call("certificates.link_target", path=path, body=body)

    def work(self, agent: Actor, **query: object) -> list[Any]:
        view = self.call("agents.work", actor=agent, path={"agent_id": agent.id}, query=query)
        return list(view.jobs)

    def csr(self, agent: Actor, item: Any, csr_pem: str) -> Any:
        body = {"job_id": item.id, "certificate_id": item.certificate_id, "csr_pem": csr_pem}
        return self.call("agents.csr", actor=agent, path={"agent_id": agent.id}, body=body)

    def answer_csr(self, agent: Actor, item: Any) -> Any:
        """Send a request with the names that the job asks for."""
        names = [name.value for name in item.sans]
        return self.csr(agent, item, make_csr(*names, common_name=item.common_name))

    def report(self, agent: Actor, item: Any, status: str, **members: object) -> Any:
        return self.call(
            "agents.report",
            actor=agent,
            path={"agent_id": agent.id, "job_id": item.id},
            body={"lease_id": item.lease_id, "status": status, **members},
        )

    def job(self, job_id: str) -> Any:
        return self.call("jobs.get", path={"job_id": job_id})

    def events(self, tag: str) -> list[Any]:
        """Audit events of one tag, oldest first."""
        page = self.call("audit.list", query={"action": tag, "per_page": 500})
        return sorted(page.data, key=lambda event: event.id)

    def deployed(self, name: str = "web-1") -> tuple[Actor, str, str, Any]:
        """Agent, certificate and target, with the deployment of the first version in hand."""
        agent = self.agent(name)
        target_id = self.target(agent)
        certificate_id = self.certificate().id
        self.link(certificate_id, target_id)
        self.answer_csr(agent, self.work(agent)[0])
        return agent, certificate_id, target_id, self.work(agent)[0]


def deploy_result(item: Any, outcome: str = "deployed", **members: object) -> dict[str, Any]:
    """A plausible result of a deployment."""
    fingerprint = item.fingerprint_sha256
    return {
        "outcome": outcome,
        "duration_ms": 1234,
        "stages": [{"name": "PRECHECK", "ok": True, "ms": 3, "detail": ""}],
        "address": "127.0.0.1:443",
        "fingerprint_sha256": fingerprint,
        "verification": {
            "status": "success",
            "endpoint": "127.0.0.1:443",
            "expected_fingerprint": fingerprint,
            "actual_fingerprint": fingerprint,
            "attempts": 1,
        },
        **members,
    }


@pytest.fixture
def fleet(core: Core, clock: FakeClock) -> Fleet:
    """The fleet of a fresh installation."""
    return Fleet(core=core, clock=clock)
