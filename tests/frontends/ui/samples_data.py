"""Invented rows in the form of the REST API, and one real chain of certificates."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID as AccessOID
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certctl_core.pki.x509 import describe, to_pem

NOW = datetime(2026, 11, 25, 15, 30, tzinfo=UTC)
Row = dict[str, Any]


def at(**ago: float) -> str:
    """A time before NOW as the API writes it; negative values are ahead."""
    return (NOW - timedelta(**ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def fields(certificate: x509.Certificate) -> Row:
    plain: Row = _plain(dataclasses.asdict(describe(certificate)))
    return plain


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Ltd"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


@lru_cache
def chain() -> tuple[x509.Certificate, x509.Certificate, x509.Certificate]:
    """Leaf, issuing CA, root."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    root_name, sub_name = _name("Example Root CA"), _name("Example Issuing CA 1")

    def build(subject, issuer, public, signer, *extensions, days, start):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=start))
            .not_valid_after(NOW + timedelta(days=days))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(signer, hashes.SHA256())

    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    ca = (x509.BasicConstraints(ca=True, path_length=None), True)
    root = build(root_name, root_name, keys[0].public_key(), keys[0], ca, days=3300, start=350)
    sub = build(sub_name, root_name, keys[1].public_key(), keys[0], ca, days=1480, start=345)
    base = "http://pki.example.test/.well-known/pki"
    leaf = build(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example.test")]),
        sub_name,
        keys[2].public_key(),
        keys[1],
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (usage, True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (
            x509.SubjectAlternativeName(
                [
                    x509.DNSName("shop.example.test"),
                    x509.DNSName("www.shop.example.test"),
                ]
            ),
            False,
        ),
        (x509.SubjectKeyIdentifier.from_public_key(keys[2].public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[1].public_key()), False),
        (
            x509.AuthorityInformationAccess(
                [
                    x509.AccessDescription(
                        AccessOID.OCSP, x509.UniformResourceIdentifier(f"{base}/ocsp/iss-local")
                    ),
                    x509.AccessDescription(
                        AccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(f"{base}/ca/iss-local")
                    ),
                ]
            ),
            False,
        ),
        (
            x509.CRLDistributionPoints(
                [
                    x509.DistributionPoint(
                        [x509.UniformResourceIdentifier(f"{base}/crl/iss-local")], None, None, None
                    )
                ]
            ),
            False,
        ),
        days=52,
        start=38,
    )
    return leaf, sub, root


def certificate(
    number: int, name: str, status: str = "Active", days: float = 60, **more: Any
) -> Row:
    issued = status not in {"Pending", "Failed"}
    return {
        "id": f"mc-01kb{number:022d}",
        "name": name,
        "common_name": name,
        "sans": [name],
        "status": status,
        "issuer_id": "iss-local",
        "certificate_profile_id": "prof-default",
        "renewal_policy_id": "rp-default",
        "environment": "production",
        "tags": {},
        "source": "API",
        "key_scope": "per_agent",
        "managed_renewal": True,
        "expires_at": at(days=-days) if issued else None,
        "last_renewal_at": at(days=90 - days) if issued and days < 90 else None,
        "last_deployment_at": None,
        "next_renewal_at": at(days=-(days - 30)) if issued and days > 30 else None,
        "revoked_at": None,
        "revocation_reason": None,
        "last_error": None,
        "current_version_id": f"cv-{number}" if issued else None,
        "version": 1,
        "created_at": at(days=120 + number * 3.7),
        "updated_at": at(hours=number * 2),
    } | more


CERTIFICATES = [
    certificate(1, "api.example.test", "Expired", -2, environment="staging"),
    certificate(2, "legacy-gateway.example.test", "Failed", 0, last_error="The issuer refused the request: the name is not allowed by its policy."),
    certificate(3, "mail.example.test", "Expiring", 4, sans=["mail.example.test", "imap.example.test", "smtp.example.test"]),
    certificate(4, "vpn.example.test", "Expiring", 12, issuer_id="iss-vault", source="Agent"),
    certificate(5, "grafana.internal.example.test", "RenewalInProgress", 21, source="Agent"),
    certificate(6, "shop.example.test", "Active", 52, sans=["shop.example.test", "www.shop.example.test"], source="Agent", last_deployment_at=at(days=38)),
    certificate(7, "git.internal.example.test", "Active", 58, source="ACME", environment="internal"),
    certificate(8, "payments.example.test", "Active", 71, sans=["payments.example.test", "10.20.4.17"], issuer_id="iss-vault"),
    certificate(9, "old-portal.example.test", "Revoked", 40, revoked_at=at(days=3), revocation_reason="superseded"),
    certificate(10, "build-runner-17.internal.example.test", "Pending", 0, environment="internal", source="Agent"),
    certificate(11, "status.example.test", "Active", 83),
    certificate(12, "ldap.internal.example.test", "Active", 88, environment="internal"),
]  # fmt: skip


@lru_cache
def versions() -> tuple[Row, ...]:
    leaf, sub, _root = chain()
    info = fields(leaf)
    current = {
        "id": "cv-6",
        "certificate_id": CERTIFICATES[5]["id"],
        "serial_number": info["serial"],
        "not_before": info["not_before"],
        "not_after": info["not_after"],
        "fingerprint_sha256": info["fingerprint_sha256"],
        "spki_sha256": info["spki_sha256"],
        "key_algorithm": "ECDSA",
        "key_size": 256,
        "issuer_id": "iss-local",
        "ca_key_id": "3f" * 20,
        "is_current": True,
        "agent_id": "ag-1",
        "job_id": "job-1",
        "order_id": "ord-1",
        "revoked_at": None,
        "created_at": at(days=38),
        "pem_chain": to_pem(leaf) + to_pem(sub),
    }
    older = current | {
        "id": "cv-5",
        "serial_number": "5b0c9e41d7aa02f8812e6c3b90f4417d25",
        "fingerprint_sha256": "9c1f" * 16,
        "not_before": at(days=98),
        "not_after": at(days=8),
        "created_at": at(days=98),
        "is_current": False,
    }
    oldest = older | {
        "id": "cv-4",
        "serial_number": "11d0a7c25e",
        "not_after": at(days=68),
        "created_at": at(days=158),
        "revoked_at": at(days=97),
        "agent_id": None,
    }
    return current, older, oldest


def issuer(**more: Any) -> Row:
    return {
        "id": "iss-local",
        "name": "Built-in authority",
        "kind": "local",
        "enabled": True,
        "source": "database",
        "state": "ready",
        "state_reason": None,
        "health": "healthy",
        "test_status": "success",
        "last_tested_at": at(hours=5),
        "last_test_report": {
            "ok": True,
            "checks": [
                {"name": "ca_certificate", "ok": True, "detail": "valid until 2036-11-22"},
                {"name": "signing_key", "ok": True, "detail": "file signer, mode 0600"},
                {"name": "revocation_list", "ok": False, "detail": "older than two intervals"},
            ],
            "duration_ms": 14,
        },
        "config": {
            "ca_common_name": "Example Issuing CA 1",
            "ca_key_algorithm": "ECDSA-P256",
            "validity_days": 90,
            "include_root_in_chain": False,
            "crl_distribution_point_urls": [],
            "token": {"set": True, "updated_at": at(days=20)},
        },
        "version": 3,
        "created_at": at(days=340),
        "updated_at": at(days=20),
    } | more


ISSUERS = [
    issuer(),
    issuer(id="iss-vault", name="Vault PKI, datacentre east", kind="vault", health="degraded"),
    issuer(
        id="iss-old",
        name="Old file authority",
        kind="example",
        state="unavailable",
        state_reason="The plugin of this kind is not installed.",
        health="unknown",
        test_status="untested",
        last_tested_at=None,
        source="env",
    ),
]


def ca_key(**more: Any) -> Row:
    _leaf, sub, root = chain()
    info = fields(sub)
    base = "http://pki.example.test/.well-known/pki"
    return {
        "ca_key_id": "3f" * 20,
        "issuer_id": "iss-local",
        "state": "current",
        "origin": "generated",
        "signer": "file",
        "key_ref": "file:ca/iss-local.key",
        "subject": info["subject"],
        "serial": info["serial"],
        "key_algorithm": "ECDSA-P256",
        "fingerprint_sha256": info["fingerprint_sha256"],
        "not_before": info["not_before"],
        "not_after": info["not_after"],
        "first_seen_at": at(days=345),
        "member_id": None,
        "can_sign": True,
        "warnings": [],
        "crl_urls": [f"{base}/crl/iss-local"],
        "ocsp_urls": [f"{base}/ocsp/iss-local"],
        "ca_issuer_urls": [f"{base}/ca/iss-local"],
        "certificate_pem": to_pem(sub),
        "chain_pem": to_pem(root),
    } | more


def ca(number: int, name: str, *, parent: int | None = None, **more: Any) -> Row:
    """A CA of a tree."""
    _leaf, sub, root = chain()
    info = fields(root if parent is None else sub)
    return {
        "id": f"ica-{number}",
        "owning_issuer_id": "iss-local",
        "parent_ca_id": None if parent is None else f"ica-{parent}",
        "name": name,
        "subject": f"CN={name},O=Example",
        "state": "active",
        "is_issuing": False,
        "can_sign": True,
        "revoked_above": False,
        "ca_key_id": f"{number}f" * 20,
        "key_driver_id": f"file:ca/iss-local-{number}.key",
        "key_algorithm": "ECDSA P-256",
        "serial": info["serial"],
        "fingerprint_sha256": info["fingerprint_sha256"],
        "not_before": info["not_before"],
        "not_after": info["not_after"],
        "path_len_constraint": None,
        "name_constraints": [],
        "ocsp_responder_url": None,
        "metadata": {},
        "cert_pem": to_pem(sub),
        "chain_pem": to_pem(root),
        "csr_pem": None,
        "created_by": "ak-1",
        "created_at": at(days=40),
        "updated_at": at(days=40),
    } | more


def profile(**more: Any) -> Row:
    return {
        "id": "prof-default",
        "name": "TLS server",
        "description": "Servers inside and outside; ninety days, renewed after two thirds.",
        "allowed_key_algorithms": [
            {"algorithm": "ECDSA", "min_size": 256},
            {"algorithm": "RSA", "min_size": 2048},
            {"algorithm": "Ed25519", "min_size": 0},
        ],
        "max_ttl_seconds": 34387200,
        "default_validity_seconds": 7776000,
        "allowed_ekus": ["serverAuth"],
        "required_san_patterns": [],
        "spiffe_uri_pattern": "",
        "allowed_subject_attributes": [],
        "allow_short_lived": False,
        "must_staple": False,
        "requires_approval": False,
        "reuse_key": False,
        "include_aia": True,
        "include_cdp": True,
        "enabled": True,
        "version": 2,
        "created_at": at(days=340),
        "updated_at": at(days=12),
    } | more


PROFILES = [
    profile(),
    profile(
        id="prof-clients",
        name="Client certificates",
        description="People and services that sign in with a certificate.",
        allowed_ekus=["clientAuth"],
        requires_approval=True,
        allowed_key_algorithms=[{"algorithm": "ECDSA", "min_size": 256}],
    ),
    profile(
        id="prof-mesh",
        name="Service mesh",
        description="",
        allowed_ekus=["serverAuth", "clientAuth"],
        allow_short_lived=True,
        max_ttl_seconds=1800,
        default_validity_seconds=1800,
        spiffe_uri_pattern="spiffe://example.test/*",
        required_san_patterns=["[a-z0-9-]+\\.mesh\\.example\\.test"],
        enabled=False,
    ),
]


def agent(number: int, name: str, status: str = "Online", **more: Any) -> Row:
    return {
        "id": f"ag-{number}",
        "name": name,
        "hostname": f"{name}.internal.example.test",
        "status": status,
        "os": "linux",
        "architecture": "x86_64",
        "ip_address": f"10.20.4.{number + 10}",
        "agent_version": "0.1.0",
        "labels": {"site": "east"},
        "last_heartbeat_at": at(seconds=24 * number),
        "registered_at": at(days=100 + number),
        "retired_at": None,
        "retired_reason": None,
        "created_at": at(days=100 + number),
        "updated_at": at(minutes=number),
    } | more


AGENTS = [
    agent(1, "web-1"),
    agent(2, "web-2"),
    agent(3, "mail-1", "Degraded"),
    agent(4, "edge-4", "Offline", last_heartbeat_at=at(hours=7)),
]


def target(number: int, name: str, **more: Any) -> Row:
    return {
        "id": f"tgt-{number}",
        "name": name,
        "kind": "nginx",
        "agent_id": f"ag-{number}",
        "enabled": True,
        "config": {
            "cert_path": "/etc/nginx/tls/shop.crt",
            "key_path": "/etc/nginx/tls/shop.key",
            "test_command": ["nginx", "-t"],
            "verify_host": "shop.example.test",
            "verify_port": 443,
        },
        "test_status": "success",
        "last_tested_at": at(hours=3),
        "retired_at": None,
        "retired_reason": None,
        "version": 1,
        "created_at": at(days=90),
        "updated_at": at(days=1),
    } | more


TARGETS = [target(1, "web-1 nginx"), target(2, "web-2 nginx", test_status="failed")]


def job(number: int, kind: str, status: str, **more: Any) -> Row:
    done = status in {"Completed", "Failed", "Cancelled"}
    return {
        "id": f"job-01kb{number:022d}",
        "type": kind,
        "status": status,
        "subject_type": "certificate",
        "subject_id": CERTIFICATES[5]["id"],
        "owner": "ag-1",
        "priority": 100,
        "certificate_id": CERTIFICATES[number % 8]["id"],
        "target_id": "tgt-1" if kind == "Deployment" else None,
        "agent_id": "ag-1" if kind != "Validation" else None,
        "version_id": None,
        "order_id": None,
        "parent_job_id": "job-01kb0000000000000000000099" if kind == "Deployment" else None,
        "attempts": 1,
        "max_attempts": 3,
        "last_error": None,
        "error_code": None,
        "scheduled_at": at(minutes=7 * number),
        "next_attempt_at": None,
        "started_at": at(minutes=6 * number) if status != "Pending" else None,
        "completed_at": at(minutes=5 * number) if done else None,
        "lease_owner": None if done else "web-1/4711",
        "lease_expires_at": None if done else at(minutes=-8),
        "requested_by": "system:scheduler",
        "verification_status": "success" if kind == "Deployment" and done else None,
        "verified_at": at(minutes=5 * number) if kind == "Deployment" and done else None,
        "verification_fingerprint": None,
        "verification_error": None,
        "result": {"reload": "ok", "fingerprint": "3fa0…"} if status == "Completed" else None,
        "request_id": "7e1f8a52-0a4e-4a86-9d0d-5dfd0c7b1a11",
        "created_at": at(minutes=8 * number),
        "updated_at": at(minutes=5 * number),
    } | more


JOBS = [
    job(1, "Renewal", "AwaitingCSR"),
    job(2, "Deployment", "Running"),
    job(3, "Deployment", "Completed"),
    job(4, "Renewal", "Completed"),
    job(5, "Deployment", "Failed", attempts=3, last_error="The configuration test failed and the old pair was put back: nginx: [emerg] unknown directive “sssl” in /etc/nginx/nginx.conf:14", error_code="config_test_failed", verification_status="failed", verification_error="another certificate is served"),
    job(6, "Issuance", "Pending"),
]  # fmt: skip


def event(number: int, action: str, actor: str = "ops-laptop", **more: Any) -> Row:
    return {
        "id": f"aud-{number}",
        "seq": 48210 - number,
        "timestamp": at(minutes=11 * number**1.6),
        "actor": actor,
        "actor_type": "api_key",
        "action": action,
        "resource_type": "certificate",
        "resource_id": CERTIFICATES[number % 9]["id"],
        "event_category": "cert_lifecycle",
        "details": {"reason": "superseded", "note": "<b>quoted & kept</b>"},
        "request_id": "7e1f8a52-0a4e-4a86-9d0d-5dfd0c7b1a11",
    } | more


EVENTS = [
    event(1, "certificate.issued", "web-1", actor_type="agent", seq=None),
    event(2, "deployment.succeeded", "web-1", actor_type="agent"),
    event(3, "renewal.requested", "scheduler", actor_type="system"),
    event(4, "certificate.revoked"),
    event(5, "issuer.tested", resource_type="issuer", resource_id="iss-local", event_category="config"),
    event(6, "auth.denied", "198.51.100.7", actor_type="anonymous", resource_type="", resource_id="", event_category="auth"),
    event(7, "agent.enrolled", "web-2", actor_type="agent", resource_type="agent", resource_id="ag-2"),
]  # fmt: skip


def notification(number: int, state: str, **more: Any) -> Row:
    return {
        "id": f"ntf-{number}",
        "event": "certificate.expiring",
        "severity": "warning",
        "state": state,
        "certificate_id": CERTIFICATES[2]["id"],
        "version_id": None,
        "issuer_id": "iss-local",
        "title": "mail.example.test expires in 4 days",
        "text": "It was not renewed by itself: no agent holds its key.",
        "attempts": 1,
        "last_error": None,
        "created_at": at(hours=3 * number),
        "read_at": None,
        "read_by": None,
    } | more


NOTIFICATIONS = [
    notification(1, "sent"),
    notification(2, "dead", severity="critical", title="api.example.test has expired", last_error="hooks.example.test answered 503 eight times", certificate_id=CERTIFICATES[0]["id"]),
    notification(3, "sent", event="renewal.succeeded", severity="info", title="shop.example.test was renewed", text="Valid until 16 Jan 2027.", read_at=at(hours=2)),
]  # fmt: skip


def api_key(number: int, name: str, **more: Any) -> Row:
    return {
        "id": f"ak-{number}",
        "name": name,
        "role_ids": ["r-operator"],
        "created_by": "first-admin",
        "created_at": at(days=30 * number),
        "expires_at": at(days=-60),
        "last_used_at": at(minutes=3 * number),
        "revoked_at": None,
        "source": "api",
    } | more


API_KEYS = [
    api_key(
        1, "first-admin", role_ids=["r-admin"], expires_at=None, created_by=None, source="bootstrap"
    ),
    api_key(2, "ci-pipeline"),
    api_key(3, "backup-job", expires_at=at(days=-6), role_ids=["r-auditor", "r-viewer"]),
    api_key(4, "old-script", revoked_at=at(days=2), last_used_at=None),
]
