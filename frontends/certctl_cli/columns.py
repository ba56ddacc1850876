"""What tables and forms show of each kind of object."""

from __future__ import annotations

from typing import Any

from certctl_cli.output import Column, Row


def nested(path: str) -> Any:
    """Reads ``a.b`` of a row."""

    def read(row: Row) -> object:
        value: Any = row
        for part in path.split("."):
            value = value.get(part) if value else None
        return value

    return read


def _time(title: str, key: str) -> Column:
    return Column(title=title, key=key, is_time=True)


def _key(row: Row) -> str:
    return str(row["key_algorithm"]) + (f" {row['key_size']}" if row["key_size"] else "")


def _version_state(row: Row) -> str:
    if row["revoked_at"]:
        return "Revoked"
    return "current" if row["is_current"] else "replaced"


def _keys(row: Row) -> list[str]:
    return [f"{k['algorithm']}≥{k['min_size']}" if k["min_size"] else k["algorithm"]
            for k in row["allowed_key_algorithms"]]  # fmt: skip


def _subtrees(row: Row, kind: str) -> list[str]:
    return [name for one in row["name_constraints"] for name in one[kind]]


def _delta(found: Row | None) -> str:
    if found is None:
        return ""
    said = found["says"] or "nothing new"
    fault = f", {found['problem']}" if found["problem"] else ""
    return f"number {found['crl_number']} since {found['base_number']}: {said}{fault}"


def _permission(row: Row) -> str:
    scope = "" if row["scope_type"] == "global" else f" on {row['scope_id']}"
    return f"{row['permission']}{scope}"


def _renewal(row: Row) -> str:
    """Who renews, in the words of the web interface."""
    if not row["managed_renewal"]:
        return "by the holder of the key"
    return "by agents" if row["is_held"] else "by hand: no agent holds the key"


ID = Column(title="Id", key="id")
NAME = Column(title="Name", key="name")
STATUS = Column(title="Status", key="status")
CREATED = _time("Created", "created_at")
ENABLED = Column(title="Enabled", key="enabled")

CERTIFICATES = (
    ID,
    NAME,
    Column(title="Common name", key="common_name", is_extra=True),
    STATUS,
    _time("Expires", "expires_at"),
    Column(title="Issuer", key="issuer_id", is_extra=True),
)
CERTIFICATE = (
    *CERTIFICATES[:3],
    Column(title="Names", key="sans"),
    STATUS,
    Column(title="Issuer", key="issuer_id"),
    Column(title="Profile", key="certificate_profile_id"),
    Column(title="Renewal policy", key="renewal_policy_id"),
    Column(title="Renewal", value=_renewal),
    Column(title="Environment", key="environment"),
    Column(title="Tags", key="tags"),
    Column(title="Source", key="source"),
    Column(title="Serial", value=nested("current.serial_number")),
    Column(title="Fingerprint", value=nested("current.fingerprint_sha256")),
    Column(title="Key", value=lambda r: _key(r["current"]) if r["current"] else None),
    _time("Expires", "expires_at"),
    _time("Next renewal", "next_renewal_at"),
    _time("Last renewal", "last_renewal_at"),
    _time("Last deployment", "last_deployment_at"),
    _time("Revoked", "revoked_at"),
    Column(title="Reason", key="revocation_reason"),
    Column(title="Last error", key="last_error"),
    CREATED,
)
VERSIONS = (
    ID,
    Column(title="Serial", key="serial_number"),
    Column(title="Key", value=_key, is_extra=True),
    _time("Not before", "not_before"),
    _time("Not after", "not_after"),
    Column(title="State", value=_version_state),
    Column(title="Fingerprint", key="fingerprint_sha256", is_extra=True),
)


ISSUED = (
    Column(title="Certificate", value=nested("certificate.id")),
    Column(title="Name", value=nested("certificate.name")),
    Column(title="Serial", value=nested("version.serial_number")),
    Column(title="Expires", value=nested("version.not_after"), is_time=True),
    Column(title="Fingerprint", value=nested("version.fingerprint_sha256")),
)
ISSUERS = (
    ID,
    NAME,
    Column(title="Kind", key="kind"),
    Column(title="State", key="state"),
    Column(title="Health", key="health"),
    ENABLED,
)
ISSUER = (
    *ISSUERS,
    Column(title="Reason", key="state_reason"),
    Column(title="Capabilities", key="capabilities"),
    Column(title="Source", key="source"),
    Column(title="Test", key="test_status"),
    _time("Tested", "last_tested_at"),
    Column(title="Configuration", key="config"),
    CREATED,
)
NOTIFIERS = ISSUERS
NOTIFIER = (
    *ISSUER,
    Column(title="Secrets, shown this once", key="generated_secrets"),
)
ROUTES = (
    ID,
    NAME,
    Column(title="Priority", key="priority"),
    ENABLED,
    Column(title="Events", value=lambda r: r["match"]["events"] or "all"),
    Column(title="Severities", value=lambda r: r["match"]["severities"] or "all"),
    Column(title="Notifiers", key="notifiers"),
)
ROUTE = (
    *ROUTES[:-1],
    Column(title="Environments", value=nested("match.environments")),
    Column(title="Issuers", value=nested("match.issuer_ids")),
    Column(title="Profiles", value=nested("match.profile_ids")),
    ROUTES[-1],
    Column(title="Goes on", key="continue"),
    CREATED,
)
TOLD = (
    ID,
    NAME,
    ENABLED,
    Column(title="Route", key="route_name"),
)
PROFILES = (
    ID,
    NAME,
    Column(title="Key usage", key="allowed_ekus"),
    Column(title="Keys", value=_keys),
    Column(title="Validity (s)", key="default_validity_seconds"),
    ENABLED,
)


PROFILE = (
    *PROFILES[:2],
    Column(title="Description", key="description"),
    *PROFILES[2:5],
    Column(title="Longest (s)", key="max_ttl_seconds"),
    Column(title="Name patterns", key="required_san_patterns"),
    Column(title="SPIFFE pattern", key="spiffe_uri_pattern"),
    Column(title="Subject beside CN", key="allowed_subject_attributes"),
    Column(title="Must-staple", key="must_staple"),
    Column(title="Needs approval", key="requires_approval"),
    Column(title="Keeps the key", key="reuse_key"),
    Column(title="Short-lived", key="allow_short_lived"),
    ENABLED,
    CREATED,
)
SAMPLE = (
    Column(title="Subject", key="subject"),
    Column(title="Issuer", key="issuer"),
    Column(title="Names", key="names"),
    Column(title="Key", key="key"),
    Column(title="Signature", key="signature"),
    _time("From", "not_before"),
    _time("Until", "not_after"),
    Column(title="Characters", key="size"),
)
EXTENSIONS = (
    Column(title="Extension", key="name"),
    Column(title="Critical", key="critical"),
    Column(title="Value", key="text"),
)
POLICIES = (
    ID,
    NAME,
    Column(title="Automatic", key="auto_renew"),
    Column(title="Days before", key="renewal_window_days"),
    Column(title="Percent of life", key="renew_at_percent"),
    Column(title="Retries", key="max_retries"),
)
POLICY = (*POLICIES, Column(title="Retry after (s)", key="retry_interval_seconds"), CREATED)
JOBS = (
    ID,
    Column(title="Type", key="type"),
    STATUS,
    Column(title="Subject", key="subject_id"),
    Column(title="Runs on", key="owner"),
    Column(title="Attempts", value=lambda r: f"{r['attempts']}/{r['max_attempts']}"),
    _time("Updated", "updated_at"),
)
JOB = (
    *JOBS[:6],
    Column(title="Certificate", key="certificate_id"),
    Column(title="Target", key="target_id"),
    _time("Scheduled", "scheduled_at"),
    _time("Next attempt", "next_attempt_at"),
    _time("Started", "started_at"),
    _time("Ended", "completed_at"),
    Column(title="Last error", key="last_error"),
    Column(title="Error code", key="error_code"),
    Column(title="Verification", key="verification_status"),
    Column(title="Requested by", key="requested_by"),
    Column(title="Result", key="result"),
)
AGENTS = (
    ID,
    NAME,
    Column(title="Host", key="hostname"),
    STATUS,
    _time("Last seen", "last_heartbeat_at"),
    Column(title="Version", key="agent_version"),
)
AGENT = (
    *AGENTS,
    Column(title="System", value=lambda r: f"{r['os']} {r['architecture']}".strip()),
    Column(title="Address", key="ip_address"),
    Column(title="Labels", key="labels"),
    Column(title="Targets", value=nested("capabilities.targets")),
    Column(title="Failures in a row", key="failed_deployments"),
    Column(title="To settle", key="recovery_pending"),
    Column(title="Clock skew (s)", key="clock_skew_seconds"),
    _time("Registered", "registered_at"),
    _time("Retired", "retired_at"),
    Column(title="Reason", key="retired_reason"),
)
TOKENS = (
    ID,
    Column(title="Label", key="label"),
    Column(title="Uses", value=lambda r: f"{r['uses']}/{r['max_uses']}"),
    _time("Expires", "expires_at"),
    _time("Revoked", "revoked_at"),
    Column(title="Made by", key="created_by"),
)
TARGETS = (
    ID,
    NAME,
    Column(title="Kind", key="kind"),
    Column(title="Agent", key="agent_id"),
    ENABLED,
    Column(title="Test", key="test_status"),
)
TARGET = (
    *TARGETS,
    _time("Tested", "last_tested_at"),
    Column(title="Configuration", key="config"),
    _time("Retired", "retired_at"),
    Column(title="Reason", key="retired_reason"),
    CREATED,
)
LINKED = (
    ID,
    NAME,
    Column(title="Kind", key="kind"),
    Column(title="Agent", key="agent_id"),
    Column(title="By itself", key="auto_deploy"),
    _time("Linked", "linked_at"),
)
DEPLOYMENTS = (
    ID,
    Column(title="Target", key="target_id"),
    Column(title="Outcome", key="outcome"),
    Column(title="Verified", value=nested("verification.status")),
    _time("Ended", "finished_at"),
    Column(title="Took (ms)", key="duration_ms", is_extra=True),
    Column(title="Error", key="error_message", is_extra=True),
)
TRUST_BUNDLES = (
    Column(title="Bundle", key="name"),
    Column(title="Certificates", value=lambda r: len(r["anchors"])),
    Column(title="First ends", value=lambda r: min(a["not_after"] for a in r["anchors"])),
    Column(title="File", key="path"),
    Column(title="Last error", key="last_error"),
)
TRUST_ANCHORS = (
    Column(title="Bundle", key="bundle"),
    Column(title="Subject", key="subject"),
    _time("Ends", "not_after"),
    Column(title="SHA-256", key="fingerprint_sha256", is_extra=True),
)
BULK_FAILURES = (
    Column(title="Certificate", key="certificate_id"),
    Column(title="Why not", key="error"),
)
BLOCKED_KEYS = (
    Column(title="SHA-256 of the key", key="spki_sha256"),
    Column(title="Source", key="source"),
    Column(title="Certificate", key="certificate_id"),
    CREATED,
)
BLOCKED_KEY = (
    *BLOCKED_KEYS,
    Column(title="By", key="created_by"),
    Column(title="Note", key="note"),
)
KEY_LISTS = (
    NAME,
    Column(title="Digests", key="mark"),
    Column(title="Entries", key="entries"),
    CREATED,
)
KEY_LIST = (
    *KEY_LISTS,
    _time("Changed", "updated_at"),
    Column(title="By", key="created_by"),
    Column(title="Note", key="note"),
)
KEYS = (
    ID,
    NAME,
    Column(title="Roles", key="roles"),
    Column(title="Source", key="source"),
    _time("Expires", "expires_at"),
    _time("Last used", "last_used_at"),
    _time("Revoked", "revoked_at"),
)
ME = (
    Column(title="Id", key="actor_id"),
    Column(title="Name", key="label"),
    Column(title="Type", key="actor_type"),
    Column(title="Roles", key="roles"),
    Column(title="Administrator", key="admin"),
    Column(
        title="Permissions", value=lambda r: [_permission(p) for p in r["effective_permissions"]]
    ),
)


PLUGINS = (
    Column(title="Kind", key="kind"),
    Column(title="Hook", key="hook"),
    Column(title="Title", key="title"),
    Column(title="Distribution", value=lambda r: f"{r['distribution']} {r['version']}".strip()),
    Column(title="Usable", value=lambda r: "yes" if r["available"] else f"no: {r['error']}"),
)
CA_KEYS = (
    Column(title="CA key", key="ca_key_id"),
    Column(title="State", key="state"),
    Column(title="Subject", key="subject"),
    Column(title="Algorithm", key="key_algorithm"),
    _time("Until", "not_after"),
    Column(title="Signs", key="can_sign"),
    Column(title="Key", value=lambda r: f"{r['signer']}:{r['key_ref']}" if r["key_ref"] else ""),
)
INTERMEDIATE = (
    ID,
    NAME,
    Column(title="State", key="state"),
    Column(title="Subject", key="subject"),
    Column(title="Issuer", key="owning_issuer_id"),
    Column(title="Parent", key="parent_ca_id"),
    Column(title="Issues", key="is_issuing"),
    Column(title="Signs", key="can_sign"),
    Column(title="CA key", key="ca_key_id"),
    Column(title="Algorithm", key="key_algorithm"),
    Column(title="Key", key="key_driver_id"),
    Column(title="Serial", key="serial"),
    _time("From", "not_before"),
    _time("Until", "not_after"),
    Column(title="Path length", key="path_len_constraint"),
    Column(title="Permitted", value=lambda r: _subtrees(r, "permitted")),
    Column(title="Excluded", value=lambda r: _subtrees(r, "excluded")),
    Column(title="OCSP", key="ocsp_responder_url"),
    CREATED,
)
CRLS = (
    Column(title="Issuer", key="issuer_id"),
    Column(title="CA key", key="ca_key_id"),
    Column(title="Number", key="crl_number"),
    Column(title="Revoked", key="revoked_count"),
    _time("This update", "this_update"),
    _time("Next update", "next_update"),
    Column(title="Stale", key="is_stale"),
    Column(title="Parts", value=lambda r: len(r["parts"]) or ""),
)
CRL_CHECK = (
    Column(title="Listed", key="is_listed"),
    Column(title="Reason", key="reason"),
    _time("Revoked at", "revoked_at"),
    _time("Invalid since", "invalidity_date"),
    Column(title="Serial", key="serial_number"),
    Column(title="Number", key="crl_number"),
    Column(title="Partition", key="part"),
    Column(title="Entries", key="entries"),
    _time("This update", "this_update"),
    _time("Next update", "next_update"),
    Column(title="Verified", key="is_verified"),
    Column(title="Delta", value=lambda r: _delta(r["delta"])),
    Column(title="Problem", key="problem"),
    Column(title="URL", key="url"),
)
RESPONDERS = (
    Column(title="Issuer", key="issuer_id"),
    Column(title="CA key", key="ca_key_id"),
    Column(title="Serial", key="serial_number"),
    _time("Until", "not_after"),
    Column(title="State", key="key_state"),
    Column(title="Problem", key="problem"),
)
OCSP_CHECK = (
    Column(title="Status", value=lambda r: r["status"] or r["response_status"]),
    Column(title="Reason", key="reason"),
    _time("Revoked at", "revoked_at"),
    Column(title="Serial", key="serial_number"),
    _time("This update", "this_update"),
    _time("Next update", "next_update"),
    Column(title="Responder key", key="responder_key_id"),
    Column(title="Verified", key="is_verified"),
    Column(title="Problem", key="problem"),
    Column(title="URL", key="url"),
)
EVENTS = (
    Column(title="No.", key="seq"),
    _time("Time", "timestamp"),
    Column(title="Actor", key="actor"),
    Column(title="Action", key="action"),
    Column(title="Object", value=lambda r: f"{r['resource_type']} {r['resource_id']}".strip()),
)
EVENT = (
    ID,
    *EVENTS,
    Column(title="Details", key="details"),
    Column(title="Redacted", key="redacted_keys"),
    Column(title="Request", key="request_id"),
)
REPORT = (
    Column(title="Intact", key="ok"),
    Column(title="Entries", key="tree_size"),
    Column(title="From entry", key="from_index"),
    Column(title="Reason", key="reason"),
    Column(title="First bad entry", key="first_bad_index"),
    Column(title="First bad event", key="first_bad_event_id"),
    Column(title="Root", key="root_hash"),
    _time("Checked", "checked_at"),
)
SUMMARY = (
    Column(title="Certificates", key="total_certificates"),
    Column(title="  end within 30 days", key="expiring_certificates"),
    Column(title="  expired", key="expired_certificates"),
    Column(title="  revoked", key="revoked_certificates"),
    Column(title="Agents", key="total_agents"),
    Column(title="  active", key="active_agents"),
    Column(title="  offline", key="offline_agents"),
    Column(title="Jobs pending", key="pending_jobs"),
    Column(title="  failed", key="failed_jobs"),
    Column(title="  complete", key="complete_jobs"),
)
