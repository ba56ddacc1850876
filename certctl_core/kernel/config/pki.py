"""The built-in CA and what it publishes: CRL, OCSP, CA certificates."""

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from certctl_core.kernel.config.fields import OFF, ON, Section, setting
from certctl_core.kernel.config.values import (
    AbsolutePath,
    CAPairs,
    Days,
    Duration,
    Flag,
    Integer,
    KeyPlace,
    Listen,
    WebBase,
    choice,
)
from certctl_core.kernel.secrets import Secret

_MINUTE = timedelta(minutes=1)
_YEAR = timedelta(days=366)


class Preflight(StrEnum):
    """What a CA that cannot be used does to the start."""

    STRICT = "strict"
    WARN = "warn"


class CALint(StrEnum):
    """Who looks at a certificate before the CA key touches it."""

    BUILTIN = "builtin"
    PKILINT = "pkilint"


class KeyStore(StrEnum):
    """Where OCSP responder keys are kept."""

    FILE = "file"
    DB = "db"


class PKISettings(Section):
    """``settings.pki``: where CRL, OCSP and CA certificates are published."""

    http_listen: Listen | None = setting(
        "PKI_HTTP_LISTEN",
        None,
        "host:port of a plain-HTTP listener that serves only CRL, OCSP and CA certificates. "
        "Off when unset.",
        example="0.0.0.0:8080",
    )
    base_url: WebBase | None = setting(
        "PKI_BASE_URL",
        None,
        "Base of the CRL, OCSP and issuer URLs inside certificates; CERTCTL_PUBLIC_URL when unset. "
        "http is the usual choice: checking https would need a certificate again.",
        example="http://pki.example.com",
    )


class CASettings(Section):
    """``settings.ca``: the built-in CA, issuer ``iss-local``."""

    cert_path: AbsolutePath | None = setting(
        "CA_CERT_PATH",
        None,
        "PEM file with a CA certificate of your own, followed by its chain. Without it a CA is "
        "made on the first start. Needs CERTCTL_CA_KEY_PATH.",
        live=True,
        example="/etc/certctl/ca/ca.crt",
    )
    key_path: KeyPlace | None = setting(
        "CA_KEY_PATH",
        None,
        "PEM file with the private key of that CA, readable by this service only; or the pkcs11: "
        "URI of a key in a token (RFC 7512), without the PIN.",
        live=True,
        example="/etc/certctl/ca/ca.key",
    )
    key_passphrase: Secret | None = setting(
        "CA_KEY_PASSPHRASE",
        None,
        "Passphrase of the CA key, best given as a file: CERTCTL_CA_KEY_PASSPHRASE_FILE.",
    )
    previous: CAPairs = setting(
        "CA_PREVIOUS",
        (),
        "Former CAs as cert:key, where the key is a file or a signer's reference (pkcs11:…): they "
        "sign CRLs and OCSP responses for what they issued, and nothing else. Files named "
        "ca.crt.old-rotated-DATE and ca.key.old-rotated-DATE beside the CA need not be listed.",
        example="/etc/certctl/old/ca.crt:/etc/certctl/old/ca.key",
    )
    preflight: Annotated[Preflight, choice(Preflight)] = setting(
        "CA_PREFLIGHT",
        Preflight.STRICT,
        "strict: a CA that cannot be used stops the start; warn: it is logged, its issuer answers 503.",
        example="warn",
    )
    lint: Annotated[CALint, choice(CALint)] = setting(
        "CA_LINT",
        CALint.BUILTIN,
        "Who checks a certificate before the CA signs it: builtin, the rules of RFC 5280 that are "
        "always checked; or pkilint as well (extra 'lint'; some 10 ms a certificate).",
        example="pkilint",
    )
    expiry_warn_days: Days = setting(
        "CA_EXPIRY_WARN_DAYS",
        (365, 180, 90, 30),
        "Days before the end of a CA certificate at which ca_key.expiring is told, once each.",
        example="365,30,7",
    )
    seed_local: Flag = setting(
        "SEED_LOCAL_CA",
        ON,
        "Make the built-in issuer on a first start without any issuer.",
        example="false",
    )


class CRLSettings(Section):
    """``settings.crl``; the interval is ``settings.scheduler.crl_interval``."""

    validity: Duration = setting(
        "CRL_VALIDITY",
        timedelta(hours=24),
        "From thisUpdate to nextUpdate of a CRL; at least twice CERTCTL_CRL_GENERATION_INTERVAL.",
        ge=2 * _MINUTE,
        le=_YEAR,
        example="7d",
    )
    export_dir: AbsolutePath | None = setting(
        "CRL_EXPORT_DIR",
        None,
        "Directory outside the database that keeps a copy of the newest CRL of each CA key.",
        example="/var/backups/certctl/crl",
    )
    partitions: Integer = setting(
        "CRL_PARTITIONS",
        0,
        "How many partitioned CRLs each CA key publishes beside the complete one: 0 for none, or a "
        "power of two up to 256. New certificates then point at their partition.",
        ge=0,
        le=256,
        example="16",
    )
    delta_above: Integer = setting(
        "CRL_DELTA_ABOVE",
        0,
        "Entries from which on a delta CRL is published beside the complete one; 0 for never.",
        ge=0,
        le=100_000_000,
        example="10000",
    )


class OCSPSettings(Section):
    """``settings.ocsp``."""

    responder_key_dir: AbsolutePath = setting(
        "OCSP_RESPONDER_KEY_DIR",
        Path("/var/lib/certctl/ocsp-responder-keys"),
        "Directory of the OCSP responder keys when they are kept in files.",
        derived="<DATA_DIR>/ocsp-responder-keys",
        example="/etc/certctl/ocsp-responder-keys",
    )
    responder_key_store: Annotated[KeyStore, choice(KeyStore)] = setting(
        "OCSP_RESPONDER_KEY_STORE",
        KeyStore.FILE,
        "file, or db: sealed in the database, which several servers can share.",
        example="db",
    )
    responder_validity: Duration = setting(
        "OCSP_RESPONDER_VALIDITY",
        timedelta(days=30),
        "Lifetime of an OCSP responder certificate.",
        ge=timedelta(hours=1),
        le=_YEAR,
        example="14d",
    )
    responder_rotation_grace: Duration = setting(
        "OCSP_RESPONDER_ROTATION_GRACE",
        timedelta(days=7),
        "How long before its end a responder certificate is replaced; shorter than its lifetime.",
        ge=timedelta(0),
        le=_YEAR,
        example="3d",
    )
    response_validity: Duration = setting(
        "OCSP_RESPONSE_VALIDITY",
        timedelta(hours=1),
        "From thisUpdate to nextUpdate of an OCSP response.",
        ge=_MINUTE,
        le=timedelta(days=31),
        example="4h",
    )
    http_max_age: Duration = setting(
        "OCSP_HTTP_MAX_AGE",
        timedelta(minutes=5),
        "Longest time that HTTP caches may keep an OCSP response.",
        ge=timedelta(0),
        le=timedelta(days=31),
        example="1m",
    )
    nonce_max: Integer = setting(
        "OCSP_NONCE_MAX",
        128,
        "Longest nonce in bytes that a response repeats (RFC 9654).",
        ge=32,
        le=128,
        example="32",
    )
    direct_signing: Flag = setting(
        "OCSP_DIRECT_SIGNING",
        OFF,
        "Sign OCSP responses with the CA key itself instead of a delegated responder.",
        example="true",
    )
    presign: Flag = setting(
        "OCSP_PRESIGN",
        OFF,
        "Sign the OCSP answer about every certificate in force ahead of the requests.",
        example="true",
    )
    cache_refresh_interval: Duration = setting(
        "OCSP_CACHE_REFRESH_INTERVAL",
        timedelta(hours=1),
        "How often answers are signed ahead (CERTCTL_OCSP_PRESIGN); not longer than they last.",
        ge=_MINUTE,
        le=timedelta(days=31),
        example="30m",
    )
    rate_limit_per_ip_minute: Integer = setting(
        "OCSP_RATE_LIMIT_PER_IP_MIN",
        1000,
        "OCSP requests per minute and client address; 0 turns the limit off.",
        ge=0,
        le=10_000_000,
        example="0",
    )
