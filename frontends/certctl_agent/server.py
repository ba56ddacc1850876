"""The server as the agent sees it: five calls, typed answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, TypeVar

import structlog
from certctl_client.errors import APIError, UnexpectedAnswer
from certctl_client.http import HTTP, expand
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from certctl_core.kernel.events import JSON

AnswerModel = TypeVar("AnswerModel", bound="_Answer")
_BASE = "/api/v1"
_log = structlog.get_logger("certctl.agent")
# The server keeps the answers of requests with a key; these are safe to repeat without one.
_NO_KEY: Mapping[str, str] = {"Idempotency-Key": ""}
GONE = 410
UNAUTHORIZED = 401


class _Answer(BaseModel):
    """An answer; members that a newer server adds are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Enrolled(_Answer):
    """A new agent."""

    id: str
    name: str
    api_key: str = Field(repr=False)


class Hints(_Answer):
    """What the server wishes, from the answer to a heartbeat."""

    heartbeat_interval_seconds: float = Field(60, ge=1, le=3600)
    poll_interval_seconds: float = Field(30, ge=1, le=3600)


class Name(_Answer):
    """One subject alternative name."""

    type: Literal["dns", "ip", "email", "uri"]
    value: str


class KeySpec(_Answer):
    """Which key to make."""

    algorithm: str
    size: int

    @property
    def name(self) -> str:
        """The public name, e.g. ``ECDSA-P256``, ``RSA-2048``, ``Ed25519``."""
        if self.algorithm == "ECDSA":
            return f"ECDSA-P{self.size}"
        return f"{self.algorithm}-{self.size}" if self.size else self.algorithm


class Target(_Answer):
    """Where to deploy."""

    id: str
    kind: str
    config: dict[str, Any] = Field(repr=False)


class Options(_Answer):
    """How."""

    force: bool = False


class WorkItem(_Answer):
    """A job in our hands."""

    id: str
    type: str
    status: str
    attempt: int
    lease_id: str
    certificate_id: str | None = None
    version_id: str | None = None
    common_name: str | None = None
    sans: tuple[Name, ...] | None = None
    key_spec: KeySpec | None = None
    must_staple: bool | None = None
    reuse_key: bool | None = None
    certificate_pem: str | None = None
    chain_pem: str | None = None
    spki_sha256: str | None = None
    target: Target | None = None
    options: Options = Options()


class _RawWork(_Answer):
    jobs: tuple[dict[str, Any], ...] = Field(repr=False)
    next_poll_seconds: float = Field(30, ge=0, le=3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The answer to a poll."""

    jobs: tuple[WorkItem, ...]
    next_poll_seconds: float


class Issued(_Answer):
    """The answer to a certificate request."""

    status: Literal["issued", "pending"]
    version_id: str | None = None
    certificate_pem: str | None = None


class Server:
    """The agent's calls.

    Args:
        http: The connection, with the agent's credential.
        agent_id: Who calls.
    """

    def __init__(self, http: HTTP, agent_id: str) -> None:
        self._http = http
        self._agent_id = agent_id

    def heartbeat(self, body: Mapping[str, JSON]) -> Hints:
        """Report a sign of life.

        Raises:
            APIError and the other errors of ``HTTP.send``; so for all calls here.
        """
        return self._ask(Hints, "POST", "heartbeat", body=dict(body))

    def work(self, limit: int) -> Work:
        """Take up to ``limit`` jobs.

        One that this version does not understand is left out; its lease ends by itself.
        """
        raw = self._ask(_RawWork, "GET", "work", query={"max": limit})
        items = []
        for document in raw.jobs:
            try:
                items.append(WorkItem.model_validate(document))
            except ValidationError as error:
                places = [".".join(map(str, problem["loc"])) for problem in error.errors()]
                _log.error("work.not_understood", job_id=str(document.get("id")), places=places)
        return Work(jobs=tuple(items), next_poll_seconds=raw.next_poll_seconds)

    def csr(self, job_id: str, certificate_id: str, csr_pem: str) -> Issued:
        """Send the certificate request of a job."""
        body: dict[str, JSON] = {
            "job_id": job_id,
            "certificate_id": certificate_id,
            "csr_pem": csr_pem,
        }
        return self._ask(Issued, "POST", "csr", body=body)

    def report(self, job_id: str, body: Mapping[str, JSON]) -> None:
        """Report on a job."""
        path = expand("jobs/{job_id}/status", {"job_id": job_id})
        self._ask(_Answer, "POST", path, body=dict(body))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _ask(
        self,
        model: type[AnswerModel],
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: dict[str, JSON] | None = None,
    ) -> AnswerModel:
        answer = self._http.send(
            method,
            f"{_BASE}{expand('/agents/{agent_id}/', {'agent_id': self._agent_id})}{path}",
            query=query,
            body=body,
            headers=_NO_KEY if method == "POST" else None,
        )
        return _validated(self._http, model, answer.json(), answer.status)


def enroll(http: HTTP, body: Mapping[str, JSON]) -> Enrolled:
    """Introduce a new agent; the token is in the body.

    Raises:
        APIError: ``invalid_enrollment_token``, ``agent_name_taken`` …
    """
    answer = http.send("POST", f"{_BASE}/agents/enroll", body=dict(body), headers=_NO_KEY)
    return _validated(http, Enrolled, answer.json(), answer.status)


def is_gone(error: Exception) -> bool:
    """Whether the server has retired this agent."""
    return isinstance(error, APIError) and error.status == GONE


def _validated(http: HTTP, model: type[AnswerModel], document: object, status: int) -> AnswerModel:
    try:
        return model.model_validate(document)
    except ValidationError:
        _unexpected(http, status)


def _unexpected(http: HTTP, status: int) -> NoReturn:
    # Without the cause: a validation error quotes the answer, which may hold a secret.
    raise UnexpectedAnswer(url=http.url, status=status, media_type="an unexpected form") from None
