"""Rules over several settings that need nothing but the settings (spec 08 GUARD, CFG-9)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from urllib.parse import urlsplit

from certctl_core.kernel.config.database import is_plaintext_to_elsewhere, url_password
from certctl_core.kernel.config.errors import Problem
from certctl_core.kernel.config.fields import PREFIX
from certctl_core.kernel.config.pki import CALint
from certctl_core.kernel.config.security import MIN_KEY_CHARS
from certctl_core.kernel.config.server import Engine, covers
from certctl_core.kernel.config.tree import SettingsTree
from certctl_core.kernel.config.values import HostPort, show_duration
from certctl_core.kernel.secrets import Secret
from certctl_core.pki.errors import MalformedPKCS11URI
from certctl_core.pki.pkcs11_uri import PKCS11URI, is_pkcs11_uri, parse_pkcs11_uri
from certctl_core.values import dataclass

MIN_BOOTSTRAP_TOKEN_CHARS = 32
SPARE_CONNECTIONS = 10
"""Beyond the request threads: background worker, change feed, migrations."""

_PLACEHOLDER = re.compile(r"change-me.*|changeme|password|secret|admin", re.IGNORECASE | re.DOTALL)


def _problem(name: str, message: str, *, found: str = "", hint: str = "") -> Problem:
    return Problem(setting=PREFIX + name, message=message, found=found, hint=hint)


def _tls_files(tree: SettingsTree) -> Iterator[Problem]:
    yield from _both(
        ("SERVER_TLS_CERT_PATH", tree.server.tls_cert_path),
        ("SERVER_TLS_KEY_PATH", tree.server.tls_key_path),
    )


def _ca_files(tree: SettingsTree) -> Iterator[Problem]:
    yield from _both(("CA_CERT_PATH", tree.ca.cert_path), ("CA_KEY_PATH", tree.ca.key_path))
    if tree.ca.key_passphrase is not None and tree.ca.key_path is None:
        yield _problem(
            "CA_KEY_PASSPHRASE",
            "is set without CERTCTL_CA_KEY_PATH",
            hint="It opens that key; the built-in CA seals its key by itself.",
        )


def _token(tree: SettingsTree) -> Iterator[Problem]:
    """What the token needs: a library; and no PIN where it would be shown."""
    place = tree.ca.key_path or ""
    if is_pkcs11_uri(place):
        try:
            parse_pkcs11_uri(place)
        except MalformedPKCS11URI as error:
            # What was found is not repeated: it may hold a PIN.
            yield _problem(
                "CA_KEY_PATH",
                f"is no usable pkcs11: URI: {error.data['reason']}",
                hint="Write pkcs11:token=LABEL;object=NAME?module-path=/…&pin-source=file:/….",
            )
            return
        if tree.ca.key_passphrase is not None:
            yield _problem(
                "CA_KEY_PASSPHRASE",
                "is set while CERTCTL_CA_KEY_PATH is a pkcs11: URI",
                hint="A token is opened by its PIN: CERTCTL_PKCS11_PIN_FILE.",
            )
    for pair in tree.ca.previous:
        if "pin-value" in pair.key_ref:
            yield _problem(
                "CA_PREVIOUS",
                "holds a PIN",
                hint="It would be shown with the key: keep it in CERTCTL_PKCS11_PIN_FILE.",
            )
    if tree.audit.key is not None and not _is_usable(tree.audit.key):
        yield _problem(
            "AUDIT_KEY",
            "is no usable pkcs11: URI",  # what was found is not repeated: it may hold a PIN
            hint="Write pkcs11:token=LABEL;object=NAME, without a PIN.",
        )
        return
    at = place if is_pkcs11_uri(place) else tree.audit.key
    named = parse_pkcs11_uri(at) if at else PKCS11URI()
    module = tree.signers.pkcs11_module
    if named.module_path and module is not None and str(module) != named.module_path:
        yield _problem(
            "PKCS11_MODULE",
            "is another library than the module-path of "
            f"{PREFIX}{'CA_KEY_PATH' if at == place else 'AUDIT_KEY'}",
            found=str(module),
            hint="One process uses one library; name it once.",
        )
    uses = {
        tree.signers.ca,
        tree.signers.ocsp,
        tree.signers.audit,
        "pkcs11" if is_pkcs11_uri(place) or tree.audit.key else "",
    }
    if "pkcs11" in uses and module is None and not named.module_path:
        yield _problem(
            "PKCS11_MODULE",
            "is missing while keys are kept in a PKCS#11 token",
            hint="Name the library of the token, as /usr/lib/softhsm/libsofthsm2.so.",
        )


def _is_usable(uri: str) -> bool:
    try:
        return is_pkcs11_uri(uri) and bool(parse_pkcs11_uri(uri))
    except MalformedPKCS11URI:
        return False


def _linter(tree: SettingsTree) -> Iterator[Problem]:
    if tree.ca.lint is CALint.PKILINT and find_spec("pkilint") is None:
        yield _problem(
            "CA_LINT",
            "needs pkilint, which is not installed",
            found=tree.ca.lint.value,
            hint="pip install 'certctl[lint]'",
        )


def _both(first: tuple[str, object], second: tuple[str, object]) -> Iterator[Problem]:
    for (name, value), (other, other_value) in ((first, second), (second, first)):
        if value is None and other_value is not None:
            yield _problem(
                name, f"is missing while {PREFIX}{other} is set", hint="Set both or neither."
            )


def _listeners(tree: SettingsTree) -> Iterator[Problem]:
    taken = {
        ("SERVER_PORT"): HostPort(host=tree.server.host, port=tree.server.port),
    }
    for name, address in (
        ("MTLS_LISTEN", tree.server.mtls_listen),
        ("PKI_HTTP_LISTEN", tree.pki.http_listen),
        ("METRICS_BIND", tree.metrics.bind),
    ):
        if address is None:
            continue
        for other, known in taken.items():
            if address.port == known.port and _overlap(address.host, known.host):
                yield _problem(
                    name,
                    f"takes the address of {PREFIX}{other}",
                    found=str(address),
                    hint="Give each listener a port of its own.",
                )
        taken[name] = address


def _overlap(first: str, second: str) -> bool:
    return first == second or not {first, second}.isdisjoint({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


def _proxy_mode(tree: SettingsTree) -> Iterator[Problem]:
    if tree.server.engine is not Engine.WAITRESS:
        return
    if not tree.server.trusted_proxies:
        yield _problem(
            "TRUSTED_PROXIES",
            "is empty while CERTCTL_SERVER_ENGINE is waitress",
            hint="waitress speaks plain HTTP: name the TLS proxy in front of it.",
        )
    elif not _is_loopback(tree.server.host) and not _is_covered(tree):
        yield _problem(
            "SERVER_HOST",
            "is reachable from elsewhere while CERTCTL_SERVER_ENGINE is waitress",
            found=tree.server.host,
            hint="Bind 127.0.0.1, or an address inside CERTCTL_TRUSTED_PROXIES.",
        )


def _is_covered(tree: SettingsTree) -> bool:
    try:
        address = ipaddress.ip_network(tree.server.host)
    except ValueError:
        return False
    return covers(tree.server.trusted_proxies, address)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _cors(tree: SettingsTree) -> Iterator[Problem]:
    for origin in tree.server.cors_origins:
        if origin == "*":
            yield _problem(
                "CORS_ORIGINS", "opens the API to every web page", found=origin, hint="Name them."
            )
        elif origin.startswith("http:") and not _is_loopback(urlsplit(origin).hostname or ""):
            yield _problem(
                "CORS_ORIGINS",
                "holds an origin without https",
                found=origin,
                hint="Only loopback may use http.",
            )


def _metrics(tree: SettingsTree) -> Iterator[Problem]:
    bind = tree.metrics.bind
    if bind is not None and tree.metrics.token is None and not _is_loopback(bind.host):
        yield _problem(
            "METRICS_TOKEN",
            "is missing while CERTCTL_METRICS_BIND is reachable from elsewhere",
            hint="Set a token of 16 characters or more, or bind 127.0.0.1.",
        )


def _database_link(tree: SettingsTree) -> Iterator[Problem]:
    database = tree.database
    for name, url in (
        ("DATABASE_URL", database.url),
        ("DATABASE_MIGRATION_URL", database.migration_url),
    ):
        if url is None:
            continue
        if is_plaintext_to_elsewhere(url) and not database.allow_plaintext:
            yield _problem(
                name,
                "leads to another host without demanding encryption",
                hint="Add sslmode=verify-full, or set CERTCTL_DATABASE_ALLOW_PLAINTEXT=true.",
            )
        if database.password is not None and not url.reveal().startswith("sqlite:"):
            if url_password(url) is not None:
                yield _problem(
                    name,
                    "holds a password while CERTCTL_DATABASE_PASSWORD is set, too",
                    hint="Leave it out of the URL.",
                )
            elif "@" not in url.reveal():
                yield _problem(
                    name,
                    "names no user for CERTCTL_DATABASE_PASSWORD",
                    hint="Write postgresql://user@host/name.",
                )


def _database_size(tree: SettingsTree) -> Iterator[Problem]:
    server = tree.server
    needed = server.workers * server.http_threads + SPARE_CONNECTIONS
    if needed > tree.database.max_conns:
        yield _problem(
            "DATABASE_MAX_CONNS",
            f"is less than the {needed} that {server.workers} workers with "
            f"{server.http_threads} threads each may need",
            found=str(tree.database.max_conns),
            hint="Raise it, or lower CERTCTL_SERVER_WORKERS or CERTCTL_HTTP_THREADS.",
        )


def _sqlite(tree: SettingsTree) -> Iterator[Problem]:
    if tree.database.is_sqlite and tree.server.workers > 1:
        yield _problem(
            "SERVER_WORKERS",
            "is more than one while the database is SQLite",
            found=str(tree.server.workers),
            hint="Several worker processes need PostgreSQL (CERTCTL_DATABASE_URL).",
        )


def _keyring(tree: SettingsTree) -> Iterator[Problem]:
    encryption = tree.encryption
    if encryption.keys is not None and encryption.key is not None:
        yield _problem(
            "CONFIG_ENCRYPTION_KEY",
            "is set together with CERTCTL_CONFIG_ENCRYPTION_KEYS",
            hint="Keep the list only.",
        )
    if not tree.database.is_sqlite and encryption.keys is None and encryption.key is None:
        yield _problem(
            "CONFIG_ENCRYPTION_KEYS",
            "is missing",
            hint="Secrets in PostgreSQL are sealed with it: 'k1:' and the base64 of 32 random bytes.",
        )


def _sessions(tree: SettingsTree) -> Iterator[Problem]:
    sessions = tree.sessions
    if sessions.idle_timeout >= sessions.absolute_timeout:
        yield _longer("SESSION_ABSOLUTE_TIMEOUT", sessions.absolute_timeout, "SESSION_IDLE_TIMEOUT")
    if sessions.signing_key_retention < sessions.absolute_timeout:
        yield _problem(
            "SESSION_SIGNING_KEY_RETENTION",
            "is shorter than CERTCTL_SESSION_ABSOLUTE_TIMEOUT",
            found=show_duration(sessions.signing_key_retention),
            hint="Else a replaced key would end sessions early.",
        )


def _longer(name: str, value: timedelta, other: str) -> Problem:
    return _problem(name, f"is not longer than {PREFIX}{other}", found=show_duration(value))


def _crl(tree: SettingsTree) -> Iterator[Problem]:
    if tree.crl.validity < 2 * tree.scheduler.crl_interval:
        yield _problem(
            "CRL_VALIDITY",
            "is less than twice CERTCTL_CRL_GENERATION_INTERVAL",
            found=show_duration(tree.crl.validity),
            hint="A CRL must outlive one failed generation.",
        )


def _partitions(tree: SettingsTree) -> Iterator[Problem]:
    count = tree.crl.partitions
    if count == 1 or count & (count - 1):
        yield _problem(
            "CRL_PARTITIONS",
            "is neither 0 nor a power of two",
            found=str(count),
            hint="The last byte of a serial number decides; take 16.",
        )


def _ocsp(tree: SettingsTree) -> Iterator[Problem]:
    ocsp = tree.ocsp
    if ocsp.responder_rotation_grace >= ocsp.responder_validity:
        yield _longer(
            "OCSP_RESPONDER_VALIDITY", ocsp.responder_validity, "OCSP_RESPONDER_ROTATION_GRACE"
        )


def _ocsp_cache(tree: SettingsTree) -> Iterator[Problem]:
    ocsp = tree.ocsp
    if ocsp.http_max_age > ocsp.response_validity:
        yield _problem(
            "OCSP_HTTP_MAX_AGE",
            "is longer than CERTCTL_OCSP_RESPONSE_VALIDITY",
            found=show_duration(ocsp.http_max_age),
            hint="A cache would hand out responses that have ended.",
        )


def _ocsp_presign(tree: SettingsTree) -> Iterator[Problem]:
    ocsp = tree.ocsp
    if ocsp.presign and ocsp.cache_refresh_interval > ocsp.response_validity:
        yield _problem(
            "OCSP_CACHE_REFRESH_INTERVAL",
            "is longer than CERTCTL_OCSP_RESPONSE_VALIDITY",
            found=show_duration(ocsp.cache_refresh_interval),
            hint="What was signed ahead would end before it is signed again.",
        )


def _tokens(name: str, pick: Callable[[SettingsTree], Secret | None], floor: int) -> Guard:
    def check(tree: SettingsTree) -> Iterator[Problem]:
        secret = pick(tree)
        if secret is not None:
            yield from _weak(name, "", secret.reveal(), floor)

    return Guard(names=(name,), check=check)


def _weak(name: str, what: str, value: str, floor: int) -> Iterator[Problem]:
    hint = "Make one with: openssl rand -hex 32"
    if _PLACEHOLDER.fullmatch(value):
        yield _problem(name, f"{what}is a placeholder, not a secret", hint=hint)
    elif len(value) < floor:
        yield _problem(name, f"{what}is shorter than {floor} characters", hint=hint)


def _weak_bytes(name: str, what: str, value: bytes) -> list[Problem]:
    return list(_weak(name, what, value.decode(errors="replace"), 0))


def _api_keys(tree: SettingsTree) -> Iterator[Problem]:
    for item in tree.auth.api_keys:
        yield from _weak(
            "API_KEYS_NAMED", f"gives {item.name!r} a key that ", item.key.reveal(), MIN_KEY_CHARS
        )


def _passphrases(tree: SettingsTree) -> Iterator[Problem]:
    name = "CONFIG_ENCRYPTION_KEYS" if tree.encryption.keys else "CONFIG_ENCRYPTION_KEY"
    for spec in tree.encryption.specs:
        if spec.is_passphrase:
            what = f"has a passphrase ({spec.kid}) that "
            yield from spec.material.use(partial(_weak_bytes, name, what))


def _url_passwords(tree: SettingsTree) -> Iterator[Problem]:
    for name, url in (
        ("DATABASE_URL", tree.database.url),
        ("DATABASE_MIGRATION_URL", tree.database.migration_url),
        ("OUTBOUND_PROXY", tree.outbound.proxy),
    ):
        password = url_password(url) if url is not None else None
        if password is not None:
            yield from _weak(name, "has a password that ", password, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """One rule: the settings it reads, and the check that yields what it finds."""

    names: tuple[str, ...]
    check: Callable[[SettingsTree], Iterator[Problem]]


def _guard(check: Callable[[SettingsTree], Iterator[Problem]], *names: str) -> Guard:
    return Guard(names=names, check=check)


GUARDS: tuple[Guard, ...] = (
    _guard(_tls_files, "SERVER_TLS_CERT_PATH", "SERVER_TLS_KEY_PATH"),
    _guard(_ca_files, "CA_CERT_PATH", "CA_KEY_PATH", "CA_KEY_PASSPHRASE"),
    _guard(_linter, "CA_LINT"),
    _guard(_token, "CA_KEY_PATH", "CA_PREVIOUS", "PKCS11_MODULE", "SIGNER_CA", "SIGNER_OCSP"),
    _guard(
        _listeners, "SERVER_HOST", "SERVER_PORT", "MTLS_LISTEN", "PKI_HTTP_LISTEN", "METRICS_BIND"
    ),
    _guard(_proxy_mode, "SERVER_ENGINE", "SERVER_HOST", "TRUSTED_PROXIES"),
    _guard(_cors, "CORS_ORIGINS"),
    _guard(_metrics, "METRICS_BIND", "METRICS_TOKEN"),
    _guard(
        _database_link,
        "DATABASE_URL",
        "DATABASE_PASSWORD",
        "DATABASE_MIGRATION_URL",
        "DATABASE_ALLOW_PLAINTEXT",
    ),
    _guard(_database_size, "DATABASE_MAX_CONNS", "SERVER_WORKERS", "HTTP_THREADS", "DATABASE_URL"),
    _guard(_sqlite, "DATABASE_URL", "SERVER_WORKERS"),
    _guard(_keyring, "DATABASE_URL", "CONFIG_ENCRYPTION_KEYS", "CONFIG_ENCRYPTION_KEY"),
    _guard(
        _sessions,
        "SESSION_IDLE_TIMEOUT",
        "SESSION_ABSOLUTE_TIMEOUT",
        "SESSION_SIGNING_KEY_RETENTION",
    ),
    _guard(_crl, "CRL_VALIDITY", "CRL_GENERATION_INTERVAL"),
    _guard(_partitions, "CRL_PARTITIONS"),
    _guard(_ocsp, "OCSP_RESPONDER_VALIDITY", "OCSP_RESPONDER_ROTATION_GRACE"),
    _guard(_ocsp_cache, "OCSP_HTTP_MAX_AGE", "OCSP_RESPONSE_VALIDITY"),
    _guard(_ocsp_presign, "OCSP_PRESIGN", "OCSP_CACHE_REFRESH_INTERVAL", "OCSP_RESPONSE_VALIDITY"),
    _guard(_api_keys, "API_KEYS_NAMED"),
    _guard(_passphrases, "CONFIG_ENCRYPTION_KEYS", "CONFIG_ENCRYPTION_KEY"),
    _guard(_url_passwords, "DATABASE_URL", "DATABASE_MIGRATION_URL", "OUTBOUND_PROXY"),
    _tokens("BOOTSTRAP_TOKEN", lambda tree: tree.auth.bootstrap_token, MIN_BOOTSTRAP_TOKEN_CHARS),
    _tokens("AGENT_BOOTSTRAP_TOKEN", lambda tree: tree.agents.bootstrap_token, MIN_KEY_CHARS),
    _tokens(
        "AGENT_BOOTSTRAP_TOKEN_PREVIOUS",
        lambda tree: tree.agents.bootstrap_token_previous,
        MIN_KEY_CHARS,
    ),
    _tokens("METRICS_TOKEN", lambda tree: tree.metrics.token, MIN_KEY_CHARS),
    _tokens("DATABASE_PASSWORD", lambda tree: tree.database.password, 0),
    _tokens("CA_KEY_PASSPHRASE", lambda tree: tree.ca.key_passphrase, 0),
)


def check(tree: SettingsTree, *, broken: frozenset[str] = frozenset()) -> tuple[Problem, ...]:
    """Everything that the rules find.

    Args:
        tree: The settings.
        broken: Names that could not be read; rules about them are left out.
    """
    return tuple(
        problem
        for guard in GUARDS
        if broken.isdisjoint(guard.names)
        for problem in guard.check(tree)
    )


def warnings(tree: SettingsTree) -> Iterator[str]:
    """What may be meant so, but seldom is: the start says it and goes on."""
    base = tree.pki.base_url or tree.server.public_url
    if base is not None and str(base).startswith("https:"):
        name = "PKI_BASE_URL" if tree.pki.base_url is not None else "PUBLIC_URL"
        yield (
            f"{PREFIX}{name} makes the CRL, OCSP and issuer URLs inside certificates begin with https: "
            "who checks one of these would have to check that connection's certificate first "
            f"(RFC 5280 section 8). Set {PREFIX}PKI_BASE_URL to an http address that is served by "
            f"{PREFIX}PKI_HTTP_LISTEN."
        )
