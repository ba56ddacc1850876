"""Every page with sample data: name → (template, context). Also what the pictures are taken from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from certctl_flask.ui import filters
from certctl_flask.views.ca_picture import draw
from certctl_flask.views.choices import Choices
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tests.frontends.ui import samples_catalogue, samples_notices
from tests.frontends.ui import samples_data as data
from tests.frontends.ui.samples_deployments import DEPLOYMENTS

UI = Path(filters.__file__).parent
PERMISSIONS = frozenset(
    [
        "certificate.read",
        "certificate.issue",
        "certificate.edit",
        "certificate.revoke",
        "certificate.delete",
        "certificate.bulk_revoke",
        "issuer.read",
        "issuer.edit",
        "issuer.delete",
        "ca.hierarchy.read",
        "ca.hierarchy.manage",
        "profile.read",
        "profile.edit",
        "profile.delete",
        "policy.read",
        "policy.edit",
        "policy.delete",
        "agent.read",
        "agent.enroll",
        "agent.retire",
        "target.read",
        "target.edit",
        "target.delete",
        "job.read",
        "job.cancel",
        "notification.read",
        "notification.edit",
        "audit.read",
        "audit.export",
        "auth.key.list",
        "auth.key.create",
        "auth.key.delete",
        "stats.read",
    ]
)
NAMES = {
    "iss-local": "Built-in authority",
    "iss-vault": "Vault PKI, datacentre east",
    "prof-default": "TLS server",
    "rp-default": "after two thirds",
    "tgt-1": "web-1 nginx",
    "tgt-2": "web-2 nginx",
    "r-admin": "admin",
    "r-operator": "operator",
    "r-viewer": "viewer",
    "r-auditor": "auditor",
    **{row["id"]: row["name"] for row in [*data.CERTIFICATES, *data.AGENTS]},
}
PROBLEM = {
    "title": "The request was refused",
    "detail": "The profile “TLS server” does not allow RSA keys below 2048 bits.",
    "code": "csr_rejected",
    "request_id": "7e1f8a52-0a4e-4a86-9d0d-5dfd0c7b1a11",
}
Context = dict[str, Any]


@lru_cache
def environment() -> Environment:
    """Jinja as the application sets it up: escaping on, unknown names refused."""
    made = Environment(
        loader=FileSystemLoader(UI / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=False,
    )
    filters.install(made)
    return made


def common(**more: Any) -> Context:
    return {
        "app": {"version": "0.1.0", "asset_version": "0.1.0"},
        "prefs": {
            "theme": "auto",
            "density": "comfortable",
            "sidebar": "open",
            "times": "relative",
        },
        "now": data.NOW,
        "actor": {"id": "ak-1", "type": "api_key", "name": "first-admin"},
        "permissions": PERMISSIONS,
        "csrf_token": "sample-token",
        "nav": "",
        "nav_counts": {"notifications": 2, "jobs": 0},
        "flashes": [],
        "request_path": "/ui/",
        "names": NAMES,
        "problem": None,
        "errors": {},
        "form": {},
        "open_dialog": "",
    } | more


def rows(items: Sequence[Any], total: int | None = None, cursor: str | None = None) -> Context:
    return {
        "data": items,
        "total": len(items) if total is None else total,
        "total_exact": True,
        "next_cursor": cursor,
    }


def query(**more: Any) -> Context:
    return {"q": "", "sort": "", "page_size": 50, "cursor": None, "filters": {}} | more


def _series(days: int, member: str, values: Any) -> list[Context]:
    return [
        {"date": (data.NOW + timedelta(days=day)).strftime("%Y-%m-%d"), member: values(day)}
        for day in range(days)
    ]


def _dashboard(**more: Any) -> Context:
    trend = [
        {
            "date": (data.NOW - timedelta(days=29 - day)).strftime("%Y-%m-%d"),
            "completed_count": (day * 7) % 11 + 2 if day % 6 else 0,
            "failed_count": 2 if day in {8, 21} else 0,
            "success_rate": 1.0,
        }
        for day in range(30)
    ]
    issued = [
        {
            "date": (data.NOW - timedelta(days=29 - day)).strftime("%Y-%m-%d"),
            "issued_count": (day * 13) % 9 if day % 7 not in {3, 4} else 0,
        }
        for day in range(30)
    ]
    return (
        common(
            nav="dashboard",
            summary={
                "total_certificates": 1284,
                "expiring_certificates": 37,
                "expired_certificates": 3,
                "revoked_certificates": 12,
                "active_agents": 41,
                "offline_agents": 1,
                "total_agents": 42,
                "pending_jobs": 6,
                "failed_jobs": 2,
                "complete_jobs": 918,
                "notifications_dead": 1,
                "generated_at": data.at(),
            },
            by_status=[
                {"status": "Active", "count": 1205},
                {"status": "Expiring", "count": 37},
                {"status": "RenewalInProgress", "count": 9},
                {"status": "Pending", "count": 18},
                {"status": "Expired", "count": 3},
                {"status": "Revoked", "count": 12},
            ],
            timeline=_series(91, "count", lambda day: (day * 5) % 7 + (6 if 40 < day < 60 else 0)),
            issuance=issued,
            job_trends=trend,
            expiring=[row for row in data.CERTIFICATES if row["expires_at"]][:5],
            recent_jobs=data.JOBS[:5],
            activity=data.EVENTS[:6],
        )
        | more
    )


EMPTY = {"total": 0}
_NO_SUMMARY = dict.fromkeys(_dashboard()["summary"], 0)


_CRL_CHECK: Context = {
    "failure": None,
    "is_listed": False,
    "reason": None,
    "revoked_at": None,
    "invalidity_date": None,
    "part": "",
    "crl_number": 412,
    "entries": 12,
    "this_update": data.at(minutes=25),
    "next_update": data.at(hours=-23),
    "delta": {"crl_number": 412, "base_number": 398, "says": None, "problem": None},
    "is_verified": True,
    "problem": None,
}
_CRL_REVOKED = _CRL_CHECK | {
    "is_listed": True,
    "reason": "keyCompromise",
    "revoked_at": data.at(hours=2),
    "invalidity_date": data.at(hours=9),
    "part": "16-3",
    "delta": None,
}
_CRL_MISSED = _CRL_CHECK | {
    "delta": _CRL_CHECK["delta"] | {"says": "revoked", "problem": "The signature does not verify."},
    "is_verified": False,
    "problem": "The certificate is revoked, but the list that is published does not have it.",
}


def _certificate(tab: str = "overview", **more: Any) -> Context:
    leaf, sub, root = data.chain()
    return (
        common(
            nav="certificates",
            certificate=data.CERTIFICATES[5]
            | {"tags": {"team": "web", "ticket": "OPS-17"}, "next_renewal_at": data.at(days=-22)},
            tab=tab,
            version=data.versions()[0],
            details=data.fields(leaf),
            chain=[data.fields(sub), data.fields(root)],
            query=query() | {"tab": tab},
            versions=rows(data.versions(), 68, "next"),
            deployments=rows(DEPLOYMENTS),
            targets=data.TARGETS,
            events=data.EVENTS[:4],
            open_job=None,
            same_key=None,
            revocation={
                "crl_url": "http://pki.example.test/.well-known/pki/crl/iss-local",
                "ocsp_url": "http://pki.example.test/.well-known/pki/ocsp/iss-local",
                "is_checked": True,
                "state": "fresh",
                "crl_number": 412,
                "next_update": data.at(hours=-23),
            },
            crl=_CRL_CHECK,
            ocsp={
                "failure": None,
                "response_status": "successful",
                "status": "good",
                "reason": None,
                "revoked_at": None,
                "this_update": data.at(minutes=5),
                "next_update": data.at(minutes=-55),
                "problem": None,
            },
        )
        | more
    )


def _revoked() -> Context:
    certificate = data.CERTIFICATES[8] | {"revocation_reason": "certificateHold"}
    return _certificate(certificate=certificate, open_dialog="", revocation=None)


def _stolen() -> Context:
    certificate = data.CERTIFICATES[8] | {"revocation_reason": "keyCompromise"}
    same_key = rows(data.CERTIFICATES[:3], 12)
    return _certificate(certificate=certificate, same_key=same_key, revocation=None)


def _pending(**more: Any) -> Context:
    return (
        _certificate(
            certificate=data.CERTIFICATES[9],
            version=None,
            details=None,
            chain=[],
            versions=rows([]),
            deployments=rows([]),
            targets=[],
            events=[],
            revocation=None,
            open_job=data.JOBS[0],
        )
        | more
    )


def _picks(kind: str, *pairs: tuple[str, str], **more: Any) -> Choices:
    return Choices(kind=kind, rows=[{"id": key, "name": name} for key, name in pairs], **more)


_PICKS: Context = {
    "issuers": _picks(
        "issuers",
        ("iss-local", "Built-in authority"),
        ("iss-vault", "Vault PKI, datacentre east"),
    ),
    "profiles": _picks(
        "profiles", ("prof-default", "TLS server"), ("prof-clients", "Client certificates")
    ),
    "environments": [("production", "production"), ("staging", "staging")],
}
_LIST = common(nav="certificates", **_PICKS)
_NEW = common(
    nav="certificates",
    issuers=_PICKS["issuers"],
    profiles=Choices(kind="enabled-profiles", rows=data.PROFILES),
    policies=_picks("policies", ("rp-default", "after two thirds")),
    targets=_picks("targets", ("tgt-1", "web-1 nginx"), ("tgt-2", "web-2 nginx")),
    renewing=None,
    form={"key_mode": "browser", "issuer_id": "iss-local", "managed_renewal": True},
)
_DEPARTMENTS = [(f"prof-{number:03}", f"Department {number:03}") for number in range(200)]
_SEARCHED: Context = {
    "issuers": _picks("issuers", ("iss-local", "Built-in authority"), is_partial=True),
    "profiles": _picks("profiles", *_DEPARTMENTS[40:50], text="department 04"),
    "agents": _picks("agents", text="nowhere"),
    "policies": _picks("policies", ("rp-default", "after two thirds")),
}
_TYPES = [
    {"kind": "local", "title": "Built-in authority", "available": True, "reason": None, "capabilities": ["crl", "ocsp"], "count": 1, "summary": "Signs what it is asked for."},
    {"kind": "vault", "title": "HashiCorp Vault", "available": True, "reason": None, "capabilities": [], "count": 1, "summary": "Signs what it is asked for."},
    {"kind": "aws-acm-pca", "title": "AWS Private CA", "available": False, "reason": "boto3 is missing: pip install 'certctl[aws]'", "capabilities": [], "count": 0, "summary": "Signs what it is asked for."},
]  # fmt: skip
_CRLS = [
    {"issuer_id": "iss-local", "ca_key_id": "3f" * 20, "cache_present": True, "crl_number": 412, "this_update": data.at(minutes=25), "next_update": data.at(hours=-23), "generated_at": data.at(minutes=25), "revoked_count": 12, "is_stale": False, "parts": [{"part": "delta", "crl_number": 412, "this_update": data.at(minutes=25), "next_update": data.at(hours=-23), "revoked_count": 3, "is_stale": False}, *({"part": f"4-{index}", "crl_number": 400 + index, "this_update": data.at(minutes=25), "next_update": data.at(hours=-23), "revoked_count": 3, "is_stale": False} for index in range(4))], "recent_events": [{"started_at": data.at(minutes=25), "trigger": "tick", "part": "", "duration_ms": 12, "succeeded": False, "crl_number": 0, "revoked_count": 0, "error": "The signer does not answer."}]},
]  # fmt: skip
_ISSUER = common(
    nav="issuers",
    issuer=data.ISSUERS[0],
    keys=[
        data.ca_key(),
        data.ca_key(ca_key_id="77" * 20, state="previous", can_sign=False, warnings=["The key file is gone: CRL and OCSP of this key cannot be signed."]),
    ],
    crls=_CRLS,
    responders=[{"issuer_id": "iss-local", "ca_key_id": "3f" * 20, "cert_subject": "CN=OCSP responder", "serial_number": "5b0c9e41d7aa02f8812e6c3b90f4417d25", "not_after": data.at(days=-6), "key_state": "due", "problem": "within its grace"}],
    ocsp_answers={"issuer_id": "iss-local", "good": 1840, "revoked": 12},
    certificates=data.CERTIFICATES[5:9],
    certificate_total=1140,
)  # fmt: skip
_CAS = [
    data.ca(1, "Root CA", state="active", key_driver_id=None, can_sign=False),
    data.ca(2, "Policy CA for servers and everything else", parent=1, path_len_constraint=1),
    data.ca(3, "Issuing CA 1", parent=2, is_issuing=True, path_len_constraint=0, name_constraints=[{"permitted": ["DNS:example.com", "IP:10.0.0.0/8"], "excluded": ["DNS:secret.example.com"]}]),
    data.ca(4, "Issuing CA 2024", parent=2, state="retiring", can_sign=False),
    data.ca(5, "Partner CA", parent=1, state="revoked", can_sign=False),
    data.ca(6, "Partner issuing CA", parent=5, revoked_above=True, can_sign=False),
    data.ca(7, "Issuing CA 2", parent=2, state="created", can_sign=False, cert_pem=None, serial=None, fingerprint_sha256=None, not_before=None, not_after=None, csr_pem="-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n"),
]  # fmt: skip


def _tree(cas: list[Context], chosen: int | None = None, **more: Any) -> Context:
    return common(
        nav="issuers", issuer=data.ISSUERS[0], path="/ui/issuers/iss-local/hierarchy", cas=cas,
        picture=draw(cas), chosen=None if chosen is None else _CAS[chosen - 1], mode="tree" if cas else "single",
        has_root=bool(cas), keys=[data.ca_key()], crls=_CRLS, responders=_ISSUER["responders"],
        reasons=[("unspecified", "Not told"), ("superseded", "Another CA replaces it")], **more,
    )  # fmt: skip


def _ca_form(parent: Context | None, **more: Any) -> Context:
    return common(
        nav="issuers", issuer=data.ISSUERS[0], path="/ui/issuers/iss-local/hierarchy", parent=parent, present=None,
        algorithms=[("ECDSA-P256", "ECDSA P-256")], **more,
    )  # fmt: skip


_PROFILE_FORM = {
    "name": "TLS server",
    "description": "Servers inside and outside.",
    "key_algorithms": ["ECDSA", "RSA"],
    "min_size_ECDSA": 256,
    "min_size_RSA": 2048,
    "ekus": "serverAuth",
    "allowed_subject_attributes": "O OU",
    "default_validity": "90d",
    "max_ttl": "398d",
    "enabled": True,
    "include_aia": True,
    "include_cdp": True,
    "version": 2,
}
_AGENTS = common(
    nav="agents",
    page=rows(data.AGENTS),
    query=query(sort="name"),
    view="active",
    counts={"active": 4, "retired": 1},
    by_status=[{"status": "Online", "count": 2}, {"status": "Degraded", "count": 1}, {"status": "Offline", "count": 1}],
    tokens=[{"id": "aet-1", "label": "web servers", "uses": 2, "max_uses": 10, "expires_at": data.at(hours=-20), "created_by": "first-admin"}],
)  # fmt: skip
_AGENT = common(
    nav="agents", agent=data.AGENTS[0], targets=data.TARGETS[:1], jobs=data.JOBS, blocked=None
)
_FIELDS = [{"default": None, "stored": None, "clearable": False, "is_secret": item["type"] == "secret"} | item for item in (
    {"name": "cert_path", "title": "Certificate file", "help": "Certificate and chain are written here.", "type": "text", "required": True, "choices": [], "placeholder": "/etc/nginx/tls/site.crt", "group": "Files", "advanced": False},
    {"name": "key_path", "title": "Key file", "help": "Written with mode 0600.", "type": "text", "required": True, "choices": [], "placeholder": "/etc/nginx/tls/site.key", "group": "Files", "advanced": False},
    {"name": "verify", "title": "Check the handshake", "help": "Connect after the reload and compare the certificate.", "type": "bool", "required": False, "choices": [], "placeholder": "", "group": "Checks", "advanced": False},
    {"name": "verify_port", "title": "Port", "help": "", "type": "number", "required": False, "choices": [], "placeholder": "443", "group": "Checks", "advanced": False},
    {"name": "reload", "title": "Reload by", "help": "", "type": "choice", "required": True, "choices": [("systemctl", "systemctl reload nginx"), ("signal", "nginx -s reload")], "placeholder": "", "group": "Checks", "advanced": False},
    {"name": "hosts", "title": "Names to check", "help": "One a line.", "type": "list", "required": False, "choices": [], "placeholder": "", "group": "Checks", "advanced": True},
    {"name": "passphrase", "title": "Passphrase", "help": "Kept sealed.", "type": "secret", "required": False, "choices": [], "placeholder": "", "group": "Checks", "advanced": True},
)]  # fmt: skip
_AGENT_PICKS = _picks("agents", ("ag-1", "web-1"), ("ag-2", "web-2"))
_TARGET_FORM = common(
    nav="targets",
    kind={"kind": "nginx", "title": "nginx"}, faults=[],
    types=[{"kind": "nginx", "title": "nginx", "available": True, "reason": None}, {"kind": "f5", "title": "F5 BIG-IP", "available": False, "reason": "not installed"}],
    agents=_AGENT_PICKS,
    fields=_FIELDS,
    form={"enabled": True, "agent_id": "ag-2", "config[verify]": True},
)  # fmt: skip
_TARGETS = common(
    nav="targets",
    page=rows(data.TARGETS),
    query=query(),
    types=[("nginx", "nginx")],
    agents=_AGENT_PICKS,
)
_TARGET = common(
    nav="targets",
    target=data.TARGETS[0],
    certificates=[data.CERTIFICATES[5]],
    deployments=rows(DEPLOYMENTS, 41, "next"),
    query=query(),
    linkable=_picks("certificates", (data.CERTIFICATES[10]["id"], "status.example.test")),
)
_JOBS = common(
    nav="jobs",
    page=rows(data.JOBS, 934, "next"),
    query=query(),
    types=[("Renewal", "Renewal"), ("Deployment", "Deployment")],
    waiting=1,
)
_NOTIFICATIONS = common(
    nav="notifications",
    page=rows(data.NOTIFICATIONS),
    query=query(),
    view="all",
    counts={"all": 3, "unread": 2, "dead": 1},
    events=[("certificate.expiring", "Certificate expiring")],
)
_AUDIT = common(
    nav="audit",
    page=rows(data.EVENTS, 48210, "next"),
    query=query(),
    log={"tree_size": 48208, "root_hash": "c2Ff0m9q5rQnB7v1mKq0y2lXg3z8pWd4tHsJ6uYkE0A=", "signed_at": data.at(seconds=4), "unsealed": 1},
    report={"ok": True, "tree_size": 48190, "root_hash": "", "first_bad_index": None, "first_bad_event_id": None, "checked_at": data.at(hours=2)},
    export_from="2026-11-01",
    export_to="2026-11-25",
)  # fmt: skip
_KEYS = common(nav="api-keys", page=rows(data.API_KEYS), query=query(), own_key_id="ak-1")
_ROLES = [
    {"id": "r-admin", "name": "admin", "description": "Everything."},
    {"id": "r-operator", "name": "operator", "description": "Issue, renew, revoke, deploy."},
    {"id": "r-viewer", "name": "viewer", "description": "See everything but the audit log."},
]
_BUNDLES = [{"name": "outbound", "use": "outgoing connections", "path": "/etc/certctl/trust.pem", "loaded_at": data.at(days=1), "anchors": [{"subject": "CN=Example Root", "not_after": data.at(days=-900), "fingerprint_sha256": "b1" * 32, "expired": False}, {"subject": "", "not_after": data.at(days=1), "fingerprint_sha256": "b2" * 32, "expired": True}], "warnings": ["A private key in the file was skipped; it does not belong there."], "last_error": "The trust bundle /etc/certctl/trust.pem holds no certificate."}]  # fmt: skip
_MANY = common(
    nav="certificates", form={}, preview=None, result=None, agents=_AGENT_PICKS, **_PICKS
)
_BULK = {"id": "op-1", "reason": "keyCompromise", "dry_run": True, "total_matched": 41, "to_revoke": 37, "total_revoked": 0, "total_skipped": 4, "total_failed": 1, "errors": [], "job_id": None}  # fmt: skip
_BLOCKED = [
    {"spki_sha256": "3f" * 32, "source": "revocation", "certificate_id": data.CERTIFICATES[0]["id"], "note": "", "created_by": "ak-1", "created_at": data.at(days=2)},
    {"spki_sha256": "a0" * 32, "source": "operator", "certificate_id": None, "note": "found in a public repository", "created_by": "ak-1", "created_at": data.at(hours=3)},
]  # fmt: skip
_PREVIEW = {
    "would_issue": True,
    "refusals": [],
    "sentences": [{"level": "info", "text": "Certificates are valid for 90 days."}, {"level": "warning", "text": "Every issuance waits for a second person."}, {"level": "refusal", "text": "The profile is disabled."}],
    "certificate": {"subject": "CN=www.example.com", "issuer": "CN=certctl Local CA", "names": ["www.example.com"], "key": "ECDSA-P256", "signature": "ECDSA-SHA256", "not_before": data.at(), "not_after": data.at(days=-90), "extensions": [{"name": "basicConstraints", "critical": True, "text": "CA:FALSE"}], "size": 680},
    "findings": [{"code": "https_pointer", "severity": "warning", "text": "A CRL URL with https can loop."}],
}  # fmt: skip
_LOGIN: Context = common(actor=None, next="", signed_out=False, expired=False)


def _error(status: int, title: str, detail: str) -> Context:
    return common(status=status, title=title, detail=detail, request_id=PROBLEM["request_id"])


PAGES: dict[str, tuple[str, Context]] = {
    "login": ("login.html", _LOGIN),
    "login-refused": ("login.html", _LOGIN | {"signed_out": True, "problem": PROBLEM | {"title": "Not accepted", "detail": "The key is unknown, has expired or was revoked."}}),
    "dashboard": ("dashboard.html", _dashboard(flashes=[{"tone": "good", "text": "Signed in as first-admin."}])),
    "dashboard-empty": ("dashboard.html", _dashboard(summary=_NO_SUMMARY, by_status=[{"status": "Active", "count": 0}], timeline=_series(91, "count", lambda _day: 0), expiring=[], recent_jobs=[], activity=[])),
    "search": ("search.html", common(q="shop", certificates=data.CERTIFICATES[5:7], issuers=data.ISSUERS[:1])),
    "search-nothing": ("search.html", common(q="<nothing>", certificates=[], issuers=[])),
    "certificates": ("certificates/list.html", _LIST | {"page": rows(data.CERTIFICATES, 1284, "next"), "query": query(sort="expires_at")}),
    "certificates-filtered": ("certificates/list.html", _LIST | {"page": rows(data.CERTIFICATES[5:8]), "query": query(q="example", sort="-created_at", cursor="here", filters={"status": "Active", "issuer_id": "iss-local"})}),
    "certificates-none": ("certificates/list.html", _LIST | {"page": rows([]), "query": query()}),
    "certificates-no-match": ("certificates/list.html", _LIST | {"page": rows([]), "query": query(q="x")}),
    "certificate": ("certificates/detail.html", _certificate()),
    "certificate-listed": ("certificates/detail.html", _certificate(crl=_CRL_REVOKED, ocsp=None)),
    "certificate-missed": ("certificates/detail.html", _certificate(crl=_CRL_MISSED, ocsp=None)),
    "certificate-no-check": ("certificates/detail.html", _certificate(crl={"failure": "The CRL could not be generated."}, ocsp={"failure": "OCSP: responder not configured."})),
    "certificate-versions": ("certificates/detail.html", _certificate("versions")),
    "certificate-deployments": ("certificates/detail.html", _certificate("deployments")),
    "certificate-events": ("certificates/detail.html", _certificate("events")),
    "certificate-revoked": ("certificates/detail.html", _revoked()),
    "certificate-stolen-key": ("certificates/detail.html", _stolen()),
    "certificate-pending": ("certificates/detail.html", _pending()),
    "certificate-pending-versions": ("certificates/detail.html", _pending(tab="versions")),
    "certificate-pending-deployments": ("certificates/detail.html", _pending(tab="deployments")),
    "certificate-pending-events": ("certificates/detail.html", _pending(tab="events")),
    "certificate-failed": ("certificates/detail.html", _pending(certificate=data.CERTIFICATES[1], open_job=None)),
    "certificate-revoke-refused": ("certificates/detail.html", _certificate(open_dialog="revoke", problem=PROBLEM, form={"reason": "superseded", "scope": "current"}, errors={"reason": "The issuer does not take this reason."})),
    "certificate-edit": ("certificates/edit.html", common(nav="certificates", certificate=data.CERTIFICATES[0], profiles=_PICKS["profiles"], policies=_picks("policies", ("rp-default", "after two thirds")), form={"name": "web.example.test", "environment": "production", "tags": "team=web", "certificate_profile_id": "prof-default", "renewal_policy_id": "", "managed_renewal": True, "version": 3}, errors={"name": "Another certificate has this label."}, problem=PROBLEM)),
    "certificate-new": ("certificates/new.html", _NEW),
    "certificate-new-csr": ("certificates/new.html", _NEW | {"form": {"key_mode": "csr", "csr_pem": "-----BEGIN CERTIFICATE REQUEST-----\nMIIB…", "tags": "team=web"}, "problem": PROBLEM, "errors": {"csr_pem": "This is no PKCS#10 request."}}),
    "certificate-new-agent": ("certificates/new.html", _NEW | {"form": {"key_mode": "agent"}, "targets": _picks("targets")}),
    "certificate-new-many": ("certificates/new.html", _NEW | {"issuers": _SEARCHED["issuers"], "profiles": Choices(kind="enabled-profiles", rows=[data.PROFILES[0] | {"id": key, "name": name} for key, name in _DEPARTMENTS], is_partial=True), "form": {"key_mode": "csr", "certificate_profile_id": "prof-212", "issuer_id": "iss-local"}}),
    "certificates-many": ("certificates/list.html", _LIST | _SEARCHED | {"page": rows(data.CERTIFICATES), "query": query(filters={"profile_id": "prof-044"})}),
    "revoke-many-searched": ("certificates/revoke_many.html", common(nav="certificates", form={"profile_id": "prof-044"}, preview=None, result=None, **_SEARCHED)),
    "choices": ("_choices.html", common(choices=_SEARCHED["profiles"], field="profile_id", chosen="prof-default", blank="Any")),
    "choices-none": ("_choices.html", common(choices=_SEARCHED["agents"], field="agent_id", chosen=None, blank=None)),
    "certificate-renew": ("certificates/new.html", _NEW | {"renewing": data.CERTIFICATES[5], "form": {"key_mode": "browser", "common_name": "shop.example.test", "sans": "www.shop.example.test"}}),
    "issuers": ("issuers/list.html", common(nav="issuers", page=rows(data.ISSUERS), query=query(), types=_TYPES)),
    "issuers-no-match": ("issuers/list.html", common(nav="issuers", page=rows([]), query=query(q="x"), types=_TYPES)),
    "issuer": ("issuers/detail.html", _ISSUER),
    "ca-tree": ("hierarchy/tree.html", _tree(_CAS, 3)),
    "ca-tree-empty": ("hierarchy/tree.html", _tree([])),
    "ca-tree-waiting": ("hierarchy/tree.html", _tree(_CAS, 7, open_dialog="import", problem=PROBLEM, form={"cert_pem": "nonsense"}, errors={"cert_pem": "This is no certificate."})),
    "ca-tree-retiring": ("hierarchy/tree.html", _tree(_CAS, 4, open_dialog="confirm")),
    "ca-tree-revoked-above": ("hierarchy/tree.html", _tree(_CAS, 6)),
    "ca-tree-viewer": ("hierarchy/tree.html", _tree(_CAS, 1) | {"permissions": frozenset(["issuer.read", "ca.hierarchy.read"])}),
    "ca-new": ("hierarchy/form.html", _ca_form(_CAS[0], form={"algorithm": "ECDSA-P256", "ttl_days": "1825"})),
    "ca-new-refused": ("hierarchy/form.html", _ca_form(_CAS[1], form={"name": "x", "algorithm": "ECDSA-P256", "ttl_days": "0"}, problem=PROBLEM, errors={"ttl_days": "must be 1 or more"})),
    "ca-root": ("hierarchy/form.html", _ca_form(None, form={"root_cert_pem": ""})),
    "issuer-unavailable": ("issuers/detail.html", _ISSUER | {"issuer": data.ISSUERS[2] | {"last_test_report": None, "config": {}, "enabled": False}, "keys": [], "crls": [], "responders": [], "certificates": [], "certificate_total": 0}),
    "profiles": ("profiles/list.html", common(nav="profiles", page=rows(data.PROFILES), query=query(sort="name"))),
    "profile": ("profiles/detail.html", common(nav="profiles", profile=data.PROFILES[0], certificate_total=1140)),
    "profile-mesh": ("profiles/detail.html", common(nav="profiles", profile=data.PROFILES[2], certificate_total=0, open_dialog="delete")),
    "profile-new": ("profiles/form.html", common(nav="profiles", profile=None, form={"enabled": True, "key_algorithms": ["ECDSA"]})),
    "profile-edit": ("profiles/form.html", common(nav="profiles", profile=data.PROFILES[0], form=_PROFILE_FORM, errors={"max_ttl": "Must not be shorter than the lifetime."}, problem=PROBLEM)),
    "trust-bundles": ("trust/bundles.html", common(nav="trust-bundles", bundles=_BUNDLES, open_dialog="reload-outbound", problem=PROBLEM)),
    "trust-bundles-none": ("trust/bundles.html", common(nav="trust-bundles", bundles=[])),
    "revoke-many": ("certificates/revoke_many.html", _MANY),
    "revoke-many-preview": ("certificates/revoke_many.html", _MANY | {"form": {"reason": "keyCompromise", "profile_id": "prof-default"}, "preview": _BULK, "errors": {"confirm": "is not the number of certificates to revoke"}, "problem": PROBLEM}),
    "revoke-many-done": ("certificates/revoke_many.html", _MANY | {"result": _BULK | {"total_revoked": 36, "errors": [{"certificate_id": "mc-none", "code": "certificate_not_found", "error": "There is no certificate mc-none."}]}}),
    "revoke-many-job": ("certificates/revoke_many.html", _MANY | {"result": _BULK | {"job_id": "job-1", "total_failed": 0}}),
    "blocked-keys": ("blocked_keys/list.html", common(nav="profiles", page=rows(_BLOCKED), lists=[{"name": "debian-rsa-2048", "mark": "openssl-blacklist", "entries": 294_912, "note": "CVE-2008-0166", "created_at": data.at(days=2)}], query=query(), open_dialog="block", errors={"key": "is neither PEM nor a SHA-256"}, problem=PROBLEM)),
    "blocked-keys-none": ("blocked_keys/list.html", common(nav="profiles", page=rows([]), lists=[], query=query())),
    "profile-preview": ("profiles/_preview.html", common(preview=_PREVIEW)),
    "profile-preview-refused": ("profiles/_preview.html", common(preview=_PREVIEW | {"would_issue": False, "refusals": ["Must-staple needs the OCSP pointer, which is switched off."], "certificate": None})),
    "profile-preview-incomplete": ("profiles/_preview.html", common(preview=None, problem=PROBLEM | {"fields": [{"field": "default_validity", "message": "is not a length of time"}]})),
    "agents": ("agents/list.html", _AGENTS),
    "agents-none": ("agents/list.html", _AGENTS | {"page": rows([]), "counts": {"active": 0, "retired": 0}, "tokens": [], "by_status": []}),
    "agents-retired": ("agents/list.html", _AGENTS | {"view": "retired", "page": rows([data.agent(9, "edge-9", "Offline", retired_at=data.at(days=4))])}),
    "agent-token": ("agents/token.html", common(nav="agents", token={"id": "aet-2", "label": "web servers", "max_uses": 1, "expires_at": data.at(hours=-24)}, value="aet_sample_8d0f2b7c41e94f6ea0b3", commands=[{"title": "Enroll", "command": "certctl agent enroll --server https://certctl.example.test:8443 --token aet_sample_8d0f2b7c41e94f6ea0b3"}, {"title": "Run", "command": "certctl agent run"}])),
    "agent": ("agents/detail.html", _AGENT),
    "agent-blocked": ("agents/detail.html", _AGENT | {"open_dialog": "retire", "blocked": {"active_targets": 2, "active_certificates": 5, "pending_jobs": 1}, "errors": {"reason": "A reason is needed."}, "problem": PROBLEM}),
    "agent-retired": ("agents/detail.html", _AGENT | {"agent": data.agent(9, "edge-9", "Offline", retired_at=data.at(days=4), retired_reason="replaced"), "targets": [], "jobs": []}),
    "targets": ("targets/list.html", _TARGETS),
    "targets-none": ("targets/list.html", _TARGETS | {"page": rows([])}),
    "target": ("targets/detail.html", _TARGET),
    "target-new": ("targets/form.html", _TARGET_FORM | {"kind": None, "fields": [], "form": {"agent_id": "ag-1"}}),
    "target-new-nginx": ("targets/form.html", _TARGET_FORM | {"errors": {"config[key_path]": "Must be an absolute path.", "name": "Taken."}}),
    "jobs": ("jobs/list.html", _JOBS),
    "jobs-none": ("jobs/list.html", _JOBS | {"page": rows([]), "waiting": 0}),
    "job": ("jobs/detail.html", common(nav="jobs", job=data.JOBS[4], events=data.EVENTS[1:4])),
    "job-running": ("jobs/detail.html", common(nav="jobs", job=data.JOBS[1], events=[])),
    "job-awaiting": ("jobs/detail.html", common(nav="jobs", job=data.JOBS[0], events=[])),
    "job-done": ("jobs/detail.html", common(nav="jobs", job=data.JOBS[2], events=data.EVENTS[1:2])),
    "notifications": ("notifications/list.html", _NOTIFICATIONS),
    "notifications-none": ("notifications/list.html", _NOTIFICATIONS | {"page": rows([]), "view": "dead", "counts": {"all": 0, "unread": 0, "dead": 0}}),
    "audit": ("audit/list.html", _AUDIT),
    "audit-broken": ("audit/list.html", _AUDIT | {"log": None, "page": rows([]), "query": query(filters={"since": "2026-11-01T00:00:00Z", "resource_type": "issuer"}), "report": {"ok": False, "tree_size": 9, "root_hash": "", "first_bad_index": 7, "first_bad_event_id": "aud-7", "checked_at": data.at()}}),
    "audit-unverified": ("audit/list.html", _AUDIT | {"report": None}),
    "api-keys": ("api_keys/list.html", _KEYS),
    "api-keys-none": ("api_keys/list.html", _KEYS | {"page": rows([])}),
    "api-key-new": ("api_keys/form.html", common(nav="api-keys", roles=_ROLES, form={"role_ids": ["r-operator"], "expires_in_days": "90"}, errors={"role_ids": "Choose at least one."})),
    "api-key-created": ("api_keys/created.html", common(nav="api-keys", key=data.API_KEYS[1], value="ctl_k3f9_sample0000sample0000sample0000sample0000sample0000")),
    "error-403": ("error.html", _error(403, "You may not see this", "Your roles do not include the permission audit.read.")),
    "error-404": ("error.html", _error(404, "Not found", "There is no certificate with the id mc-1.")),
    "error-500": ("error.html", _error(500, "Something went wrong", "The control plane could not finish this request.") | {"actor": None}),
}  # fmt: skip
PAGES |= samples_catalogue.pages(common, rows, query, _TYPES)
PAGES |= samples_notices.pages(common, rows, query)
