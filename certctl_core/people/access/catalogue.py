"""The permission catalogue and the seeded roles: one table, checked whole (spec 05 §4.2)."""

from __future__ import annotations

from collections.abc import Mapping

_LETTERS = {
    "O": "r-operator",
    "V": "r-viewer",
    "G": "r-agent",
    "M": "r-mcp",
    "C": "r-cli",
    "U": "r-auditor",
}

PERMISSIONS: Mapping[str, str] = {
    "certificate.read": "OVMC",
    "certificate.issue": "OMC",
    "certificate.edit": "OMC",
    "certificate.revoke": "OMC",
    "certificate.delete": "OC",
    "certificate.bulk_revoke": "",
    "profile.read": "OVMC",
    "profile.edit": "OMC",
    "profile.delete": "",
    "issuer.read": "OVMC",
    "issuer.edit": "OMC",
    "issuer.delete": "",
    "issuer.execute": "",
    "target.read": "OVMC",
    "target.edit": "OMC",
    "target.delete": "OC",
    "agent.read": "OVMC",
    "agent.edit": "OC",
    "agent.retire": "",
    "agent.heartbeat": "G",
    "agent.job.poll": "G",
    "agent.job.report": "G",
    "agent.job.complete": "G",
    "agent.certificate.read": "G",
    "agent.enroll": "OC",
    "audit.read": "OVMCU",
    "audit.export": "U",
    "auth.role.list": "",
    "auth.role.create": "",
    "auth.role.edit": "",
    "auth.role.delete": "",
    "auth.role.assign": "",
    "auth.role.revoke": "",
    "auth.key.list": "C",
    "auth.key.create": "C",
    "auth.key.rotate": "C",
    "auth.key.delete": "",
    "auth.bootstrap.use": "",
    "auth.session.list": "",
    "auth.session.list.all": "",
    "auth.session.revoke": "",
    "auth.oidc.list": "",
    "auth.oidc.create": "",
    "auth.oidc.edit": "",
    "auth.oidc.delete": "",
    "auth.user.read": "O",
    "auth.user.deactivate": "",
    "auth.breakglass.admin": "",
    "auth.breakglass.login": "",
    "crl.admin": "",
    "scep.admin": "",
    "est.admin": "",
    "ca.hierarchy.manage": "",
    "ca.hierarchy.read": "OVMC",
    "scep.challenge.issue": "OC",
    "acme.read": "OVMC",
    "acme.edit": "OC",
    "acme.eab": "OC",
    "job.read": "OVMC",
    "job.cancel": "OMC",
    "approval.read": "OVMC",
    "approval.approve": "OC",
    "approval.reject": "OC",
    "policy.read": "OVMC",
    "policy.edit": "OC",
    "policy.delete": "OC",
    "team.read": "OVMC",
    "team.edit": "OC",
    "team.delete": "O",
    "owner.read": "OVMC",
    "owner.edit": "OC",
    "owner.delete": "O",
    "notification.read": "OVMC",
    "notification.edit": "OMC",
    "notifier.read": "OVMC",
    "notifier.edit": "OC",
    "notifier.delete": "",
    "discovery.read": "OVMC",
    "discovery.run": "OC",
    "discovery.claim": "OMC",
    "discovery.edit": "OC",
    "discovery.report": "G",
    "network_scan.read": "OVMC",
    "network_scan.edit": "OC",
    "network_scan.run": "OMC",
    "healthcheck.read": "OVMC",
    "healthcheck.edit": "OC",
    "healthcheck.delete": "O",
    "healthcheck.acknowledge": "OMC",
    "digest.read": "OVMC",
    "digest.send": "OC",
    "verification.read": "OVMC",
    "verification.run": "OMC",
    "stats.read": "OVMC",
    "metrics.read": "OVMC",
    "system.read": "OC",
    "system.admin": "",
}
"""Permission → letters of the seeded roles that hold it, besides ``r-admin``, which holds all."""

CATALOGUE = frozenset(PERMISSIONS)

ROLES: Mapping[str, tuple[str, str]] = {
    "r-admin": ("Administrator", "Everything."),
    "r-operator": ("Operator", "Daily certificate work."),
    "r-viewer": ("Viewer", "Reads, changes nothing."),
    "r-agent": ("Agent", "What a deployment agent needs, for itself only."),
    "r-mcp": ("Assistant", "Operator work without destructive verbs."),
    "r-cli": ("Command line", "Operator work from scripts."),
    "r-auditor": ("Auditor", "Reads and exports the audit log, nothing else."),
}
"""Role id → (name, description)."""


def permissions_of(role_id: str) -> frozenset[str]:
    """The permissions of a seeded role."""
    if role_id == "r-admin":
        return CATALOGUE
    return frozenset(
        name
        for name, letters in PERMISSIONS.items()
        if any(_LETTERS[letter] == role_id for letter in letters)
    )
