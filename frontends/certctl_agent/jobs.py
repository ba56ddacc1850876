"""Carrying out jobs: requests, deployments, tests."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from certctl_client.errors import APIError
from cryptography.x509 import load_pem_x509_certificate

from certctl_agent.errors import ForeignCertificate, KeyUnsupported
from certctl_agent.keys import KeyStore, Wanted
from certctl_agent.outbox import Outbox
from certctl_agent.server import Issued, Server, Target, WorkItem, is_gone
from certctl_core.contracts.checks import CheckReport
from certctl_core.contracts.host.registry import Kinds
from certctl_core.contracts.targets import Bundle, FileTarget
from certctl_core.deploy import DeployEngine, DeployReport, Stage
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.events import JSON
from certctl_core.pki.keys import spki_sha256
from certctl_core.pki.names import GeneralName, NameType

_log = structlog.get_logger("certctl.agent")
CSR_JOBS = frozenset({"Issuance", "Renewal"})
_CONFLICT, _NOT_FOUND, _UNPROCESSABLE = 409, 404, 422
_TAG = ":"
_MAX_TEXT = 2000


class Worker:
    """Does one job at a time; several threads may share it.

    Args:
        server: Where requests go.
        keys: The private keys.
        engine: The deploy transaction.
        kinds: The installed kinds of targets.
        outbox: Takes reports.
        abort: Set when running deployments are to be rolled back.
    """

    def __init__(
        self,
        *,
        server: Server,
        keys: KeyStore,
        engine: DeployEngine,
        kinds: Kinds[type[FileTarget]],
        outbox: Outbox,
        abort: threading.Event,
    ) -> None:
        self._server = server
        self._keys = keys
        self._engine = engine
        self._kinds = kinds
        self._outbox = outbox
        self._abort = abort

    def do(self, item: WorkItem) -> None:
        """Carry out a job; its report is in the outbox afterwards.

        Raises:
            CertctlError: A request could not be sent; the job will be handed out again.
        """
        if item.type in CSR_JOBS:
            self._request(item)
        elif item.type == "Deployment":
            self._deploy(item)
        elif item.type == "Validation":
            self._validate(item)
        else:
            _log.warning("job.unknown_type", job_id=item.id, job_type=item.type)

    def recover(self) -> None:
        """Settle what a crash interrupted; call it before the first job (DEP-16, AGT-37)."""
        for report in self._engine.recover():
            job_id, _, lease_id = report.tag.partition(_TAG)
            _log.warning(
                "deploy.recovered",
                target_id=report.target_id,
                outcome=report.outcome.value,
                job_id=job_id,
            )
            if job_id and lease_id:
                self._outbox.put(job_id, _report(lease_id, report))

    # -- certificate requests -----------------------------------------------------------------

    def _request(self, item: WorkItem) -> None:
        certificate_id = item.certificate_id or ""
        try:
            pending = self._keys.request(certificate_id, item.id, _wanted(item))
        except CertctlError as error:
            self._cannot(item, error)
            return
        try:
            issued = self._server.csr(item.id, certificate_id, pending.csr_pem)
        except APIError as error:
            if error.status == _UNPROCESSABLE:
                self._keys.discard(certificate_id, pending.spki)
            if error.status not in {_CONFLICT, _NOT_FOUND, _UNPROCESSABLE}:
                raise
            # The server has decided; if it issued after all, the deployment names the key.
            _log.warning("csr.refused", job_id=item.id, code=error.code, detail=error.detail)
            return
        if issued.status == "issued":
            self._settle(item, issued, pending.spki)
        else:
            _log.info("csr.pending", job_id=item.id, certificate_id=certificate_id)

    def _settle(self, item: WorkItem, issued: Issued, spki: str) -> None:
        try:
            leaf = load_pem_x509_certificate((issued.certificate_pem or "").encode())
            found = spki_sha256(leaf.public_key())
        except ValueError as error:
            raise ForeignCertificate from error
        if found != spki:
            raise ForeignCertificate
        self._keys.promote(item.certificate_id or "", spki)
        _log.info(
            "csr.issued",
            job_id=item.id,
            certificate_id=item.certificate_id,
            version_id=issued.version_id,
        )

    def _cannot(self, item: WorkItem, error: CertctlError) -> None:
        """No request can be made on this host: say so, it counts as an attempt."""
        _log.warning("csr.impossible", job_id=item.id, code=error.code, detail=error.detail)
        body: dict[str, JSON] = {
            "lease_id": item.lease_id,
            "status": "Failed",
            "error": {"code": error.code, "message": error.detail, "stage": "CSR"},
        }
        self._outbox.put(item.id, body)

    # -- deployments --------------------------------------------------------------------------

    def _deploy(self, item: WorkItem) -> None:
        report = self._deployed(item)
        self._outbox.put(item.id, _report(item.lease_id, report))
        if report.outcome.ok and item.spki_sha256:
            self._keys.prune(item.certificate_id or "", current=item.spki_sha256)

    def _deployed(self, item: WorkItem) -> DeployReport:
        certificate_id, version_id = item.certificate_id or "", item.version_id or ""
        spki = item.spki_sha256 or ""
        wanted = item.target or Target(id="", kind="", config={})
        try:
            key = self._keys.load(certificate_id, spki)
            # Its certificate exists, whether or not the answer to the request reached us.
            self._keys.promote(certificate_id, spki)
            bundle = Bundle.build(
                item.certificate_pem or "", item.chain_pem or "", key, certificate_id, version_id
            )
            target = self._build(wanted)
        except CertctlError as error:
            return DeployReport.refused(
                error,
                target_id=wanted.id,
                kind=wanted.kind,
                certificate_id=certificate_id,
                version_id=version_id,
            )
        should_abort, on_stage = self._watch(item)
        return self._engine.deploy(
            target,
            bundle,
            version_id=version_id,
            target_id=wanted.id,
            force=item.options.force,
            tag=f"{item.id}{_TAG}{item.lease_id}",
            should_abort=should_abort,
            on_stage=on_stage,
        )

    def _watch(self, item: WorkItem) -> tuple[Callable[[], bool], Callable[[Stage], None]]:
        """Ask the server before anything changes whether the job is still wanted."""
        cancelled = threading.Event()

        def on_stage(stage: Stage) -> None:
            if stage is not Stage.STAGE:
                return
            body: dict[str, JSON] = {
                "lease_id": item.lease_id,
                "status": "Running",
                "stage": stage.value,
            }
            try:
                self._server.report(item.id, body)
            except APIError as error:
                if error.status in {_CONFLICT, _NOT_FOUND} or is_gone(error):
                    cancelled.set()
            except CertctlError as error:
                # Nobody can be asked now; the lease still says that it is ours.
                _log.warning("report.not_sent", job_id=item.id, code=error.code)

        return lambda: cancelled.is_set() or self._abort.is_set(), on_stage

    def _build(self, wanted: Target) -> FileTarget:
        plugin = self._kinds.require(wanted.kind)
        return self._engine.build(plugin, wanted.config, target_id=wanted.id)

    # -- tests --------------------------------------------------------------------------------

    def _validate(self, item: WorkItem) -> None:
        body: dict[str, JSON] = {"lease_id": item.lease_id}
        try:
            if item.target is None:
                raise KeyUnsupported(name="a test without a target")
            report = self._engine.check(self._build(item.target))
        except CertctlError as error:
            body |= {
                "status": "Failed",
                "error": {"code": error.code, "message": _sentence(error), "stage": "CHECK"},
            }
        else:
            body |= {"status": "Completed", "result": _checks(report)}
        self._outbox.put(item.id, body)


def _wanted(item: WorkItem) -> Wanted:
    if item.key_spec is None:
        raise KeyUnsupported(name="no kind at all")
    return Wanted(
        algorithm=item.key_spec.name,
        names=[GeneralName(type=NameType(name.type), value=name.value) for name in item.sans or ()],
        common_name=item.common_name or "",
        must_staple=bool(item.must_staple),
        reuse_key=bool(item.reuse_key),
    )


def _report(lease_id: str, report: DeployReport) -> dict[str, JSON]:
    body: dict[str, JSON] = {
        "lease_id": lease_id,
        "status": "Completed" if report.outcome.ok else "Failed",
        "result": _cut(report.to_json()),
    }
    if report.failure is not None:
        body["error"] = report.failure.to_json()
    return body


def _cut(value: JSON) -> JSON:
    """No text longer than a report may hold: a refused report would be worth less."""
    if isinstance(value, str):
        return value[:_MAX_TEXT]
    if isinstance(value, dict):
        return {name: _cut(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_cut(item) for item in value]
    return value


def _checks(report: CheckReport) -> dict[str, JSON]:
    return {
        "ok": report.ok,
        "checks": [
            {
                "name": check.name,
                "ok": check.ok,
                "detail": check.detail[:4096],
                "hint": check.hint[:1024],
            }
            for check in report.checks
        ],
    }


def _sentence(error: CertctlError) -> str:
    fields = "; ".join(f"{field.field} {field.message}" for field in error.fields)
    return f"{error.detail} {fields}".strip()[:4096]
