"""Certification paths: order, verify (RFC 5280 §6.1), and the fitness of a CA certificate.

Policies (§6.1.1 c to g) are not evaluated: no policy is required, so none can be missing. All
else of §6.1 is: signatures, validity, names, basic constraints, path length, key usage, name
constraints, unknown critical extensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache

from cryptography import x509

from certctl_core.pki import keys
from certctl_core.pki._constraints import find_violation, same_name
from certctl_core.pki._ekus import eku_oid
from certctl_core.pki._library import LIBRARY_ERRORS
from certctl_core.pki._signing import signature_algorithm, verify
from certctl_core.pki.errors import ChainError, KeyRejected, UnsupportedKey
from certctl_core.pki.findings import Finding, Severity
from certctl_core.pki.keys import PublicKey
from certctl_core.values import dataclass

MAX_PATH = 10
"""Certificates in a path, both ends counted; real ones have two to five."""

_MAX_ATTEMPTS = 200
"""Signature checks for one path: a pool of look-alikes must not cost more."""

_UNREADABLE: tuple[type[Exception], ...] = (ChainError, *LIBRARY_ERRORS)
_ANY_EKU = "2.5.29.37.0"
_PROCESSED = frozenset(
    {
        "2.5.29.14",
        "2.5.29.15",
        "2.5.29.17",
        "2.5.29.18",
        "2.5.29.19",
        "2.5.29.30",
        "2.5.29.31",
        "2.5.29.32",
        "2.5.29.33",
        "2.5.29.35",
        "2.5.29.36",
        "2.5.29.37",
        "2.5.29.54",
        "1.3.6.1.5.5.7.1.24",
        "1.3.6.1.5.5.7.48.1.5",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Facts:
    """What the rules ask of one certificate, read once."""

    cert: x509.Certificate
    is_ca: bool
    path_length: int | None
    usage: x509.KeyUsage | None
    constraints: x509.NameConstraints | None
    names: tuple[x509.GeneralName, ...]
    ekus: frozenset[str] | None
    ski: bytes | None
    aki: bytes | None
    unknown_critical: str | None
    self_issued: bool


def _refuse(cert: x509.Certificate, reason: str) -> ChainError:
    try:
        subject = cert.subject.rfc4514_string()
    except LIBRARY_ERRORS:
        subject = "?"
    return ChainError(subject=subject, reason=reason)


def _facts(cert: x509.Certificate) -> _Facts:
    try:
        values: dict[type[x509.ExtensionType], x509.ExtensionType] = {}
        unknown_critical = None
        for extension in cert.extensions:
            values[type(extension.value)] = extension.value
            if extension.critical and extension.oid.dotted_string not in _PROCESSED:
                unknown_critical = extension.oid.dotted_string
        self_issued = same_name(cert.subject, cert.issuer)
    except LIBRARY_ERRORS as error:
        raise _refuse(cert, "its extensions cannot be read") from error
    basic = values.get(x509.BasicConstraints)
    usage = values.get(x509.KeyUsage)
    constraints = values.get(x509.NameConstraints)
    san = values.get(x509.SubjectAlternativeName)
    eku = values.get(x509.ExtendedKeyUsage)
    ski = values.get(x509.SubjectKeyIdentifier)
    aki = values.get(x509.AuthorityKeyIdentifier)
    return _Facts(
        cert=cert,
        is_ca=isinstance(basic, x509.BasicConstraints) and basic.ca,
        path_length=basic.path_length if isinstance(basic, x509.BasicConstraints) else None,
        usage=usage if isinstance(usage, x509.KeyUsage) else None,
        constraints=constraints if isinstance(constraints, x509.NameConstraints) else None,
        names=tuple(san) if isinstance(san, x509.SubjectAlternativeName) else (),
        ekus=(
            frozenset(oid.dotted_string for oid in eku)
            if isinstance(eku, x509.ExtendedKeyUsage)
            else None
        ),
        ski=ski.digest if isinstance(ski, x509.SubjectKeyIdentifier) else None,
        aki=aki.key_identifier if isinstance(aki, x509.AuthorityKeyIdentifier) else None,
        unknown_critical=unknown_critical,
        self_issued=self_issued,
    )


_known_facts = lru_cache(maxsize=256)(_facts)
"""For issuers: the same few are asked about again and again."""


def _names_match(child: _Facts, issuer: _Facts) -> bool:
    if not same_name(child.cert.issuer, issuer.cert.subject):
        return False
    return child.aki is None or issuer.ski is None or child.aki == issuer.ski


def _signed_by(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(issuer)
    except LIBRARY_ERRORS:
        return False
    return True


@lru_cache(maxsize=256)
def _verifier(issuer: x509.Certificate) -> tuple[PublicKey, str | None]:
    """The key of an issuer, and the algorithm in which it signs here; None for others' kinds."""
    public_key = issuer.public_key()
    try:
        algorithm = signature_algorithm(public_key)
    except UnsupportedKey:
        algorithm = None
    return public_key, algorithm


def verify_signature(leaf: x509.Certificate, issuer: x509.Certificate) -> None:
    """Check that the key of a CA that may sign certificates has signed one: nothing but that.

    For what was linted against this issuer before it was signed: names, key ids, dates and the
    algorithm in both places are right then.

    Raises:
        ChainError: The signature does not verify, or the issuer is no CA or must not sign
            certificates.
    """
    _check_ca_flags(_known_facts(issuer))
    public_key, algorithm = _verifier(issuer)
    if leaf.signature_algorithm_oid.dotted_string == algorithm:
        # The library's own check makes the issuer's key from its bytes each time.
        good = verify(public_key, leaf.signature, leaf.tbs_certificate_bytes)
    else:
        good = _signed_by(leaf, issuer)
    if not good:
        raise _refuse(leaf, "the signature does not verify")


def is_self_signed(cert: x509.Certificate) -> bool:
    """Say whether subject and issuer are one name and the own key verifies the signature."""
    return cert.subject == cert.issuer and _signed_by(cert, cert)


def order_chain(
    leaf: x509.Certificate, pool: Iterable[x509.Certificate]
) -> tuple[tuple[x509.Certificate, ...], x509.Certificate | None]:
    """Put the certificates above a leaf in order (02 CERT-19).

    Only names, key ids and signatures decide; dates and rules are ``verify_path``'s. Where
    several candidates fit, a self-signed one wins, then the one that is valid longest.

    Args:
        leaf: Where the chain starts; it is not part of the result.
        pool: Certificates in any order; those that do not belong are left out.

    Returns:
        ``(chain, root)``: issuing CA first, up to but excluding a self-signed root; the root,
        or None if the pool does not reach one. A self-signed leaf gives ``((), leaf)``.

    Raises:
        ChainError: A candidate's extensions cannot be read.
    """
    if is_self_signed(leaf):
        return (), leaf
    candidates = [_facts(cert) for cert in dict.fromkeys(pool) if cert != leaf]
    chain: list[x509.Certificate] = []
    current = _facts(leaf)
    while len(chain) < MAX_PATH:
        found = [
            (is_self_signed(candidate.cert), candidate.cert.not_valid_after_utc, candidate)
            for candidate in candidates
            if candidate.cert not in chain
            and _names_match(current, candidate)
            and _signed_by(current.cert, candidate.cert)
        ]
        if not found:
            break
        is_root, _, current = max(found, key=lambda item: item[:2])
        if is_root:
            return tuple(chain), current.cert
        chain.append(current.cert)
    return tuple(chain), None


def key_id_of(cert: x509.Certificate) -> bytes | None:
    """The id of the key that signed a certificate, as its authority key identifier names it."""
    for extension in cert.extensions:
        # The library's isinstance is slow for all that it is not.
        if type(extension.value) is x509.AuthorityKeyIdentifier:
            return extension.value.key_identifier
    return None


def verify_issued(leaf: x509.Certificate, issuer: x509.Certificate) -> None:
    """Check that a CA issued a certificate and was entitled to: one link, cheap.

    Raises:
        ChainError: Names or key ids differ, the signature does not verify, the issuer is no CA
            or must not sign certificates, or the leaf starts after or ends after its issuer
            ends.
    """
    parent = _known_facts(issuer)
    try:
        aki = key_id_of(leaf)
        matches = same_name(leaf.issuer, parent.cert.subject)
    except LIBRARY_ERRORS as error:
        raise _refuse(leaf, "its extensions cannot be read") from error
    if not matches or (aki is not None and parent.ski is not None and aki != parent.ski):
        raise _refuse(leaf, "issuer name or authority key identifier do not match")
    _check_ca_flags(parent)
    if not leaf.not_valid_before_utc <= leaf.not_valid_after_utc <= issuer.not_valid_after_utc:
        raise _refuse(leaf, "its validity does not end within that of its issuer")
    if not _signed_by(leaf, issuer):
        raise _refuse(leaf, "the signature does not verify")


def verify_path(
    leaf: x509.Certificate,
    intermediates: Iterable[x509.Certificate],
    roots: Iterable[x509.Certificate],
    at: datetime,
    *,
    eku: str | None = None,
) -> tuple[x509.Certificate, ...]:
    """Find and validate a certification path (RFC 5280 §6.1).

    Args:
        leaf: The certificate at the lower end; may be a CA.
        intermediates: Untrusted certificates in any order.
        roots: Trust anchors; their dates and constraints count.
        at: The moment to judge, aware.
        eku: If given, a name or dotted OID that the leaf and every CA with an extended key
            usage extension must allow.

    Returns:
        The path, leaf first, trust anchor last.

    Raises:
        ChainError: No path, with the reason of the attempt that got furthest.
        UnknownEKU: ``eku`` is not known.
    """
    purpose = None if eku is None else eku_oid(eku)
    anchors = [_facts(cert) for cert in dict.fromkeys(roots)]
    pool = [_facts(cert) for cert in dict.fromkeys(intermediates) if cert != leaf]
    start = _facts(leaf)
    if leaf in {anchor.cert for anchor in anchors}:
        _check_path((start,), at, purpose)
        return (leaf,)
    failure = _refuse(leaf, "no issuer is known")
    attempts = _MAX_ATTEMPTS
    open_paths: list[tuple[_Facts, ...]] = [(start,)]
    while open_paths and attempts > 0:
        path = open_paths.pop()
        for is_anchor, candidate in [
            *((False, facts) for facts in pool if facts not in path),
            *((True, facts) for facts in anchors),
        ]:
            if len(path) >= MAX_PATH or not _names_match(path[-1], candidate):
                continue
            attempts -= 1
            if not _signed_by(path[-1].cert, candidate.cert):
                failure = _refuse(path[-1].cert, "the signature does not verify")
                continue
            longer = (*path, candidate)
            if not is_anchor:
                open_paths.append(longer)
                continue
            try:
                _check_path(longer, at, purpose)
            except ChainError as error:
                failure = error
            else:
                return tuple(facts.cert for facts in longer)
    raise failure


def _check_path(path: tuple[_Facts, ...], at: datetime, purpose: str | None) -> None:
    leaf, authorities = path[0], path[1:]
    for facts in path:
        cert = facts.cert
        if not cert.not_valid_before_utc <= at <= cert.not_valid_after_utc:
            raise _refuse(cert, "it is not valid at this time")
        if facts.unknown_critical is not None:
            raise _refuse(cert, f"critical extension {facts.unknown_critical} is not known")
        if purpose is not None and facts.ekus is not None and not facts.ekus & {purpose, _ANY_EKU}:
            raise _refuse(cert, "its extended key usage does not allow this purpose")
    below = 0
    for position, facts in enumerate(authorities):
        _check_ca_flags(facts)
        if facts.path_length is not None and below > facts.path_length:
            raise _refuse(facts.cert, "the path below it is longer than it allows")
        # Self-issued certificates do not count (§6.1.4 l).
        if not facts.self_issued:
            below += 1
        if facts.constraints is not None:
            _check_constraints(facts.constraints, (leaf, *authorities[:position]))


def _check_constraints(constraints: x509.NameConstraints, below: Sequence[_Facts]) -> None:
    for position, facts in enumerate(below):
        # "not applied to self-issued certificates (unless the certificate is the final
        # certificate in the path)" (§4.2.1.10)
        if position and facts.self_issued:
            continue
        outside = find_violation(
            constraints,
            subject=facts.cert.subject,
            names=facts.names,
            common_name_counts=position == 0 and not facts.is_ca,
        )
        if outside is not None:
            raise _refuse(facts.cert, f"{outside!a} violates a name constraint")


def _check_ca_flags(facts: _Facts) -> None:
    if not facts.is_ca:
        raise _refuse(facts.cert, "it is not a CA certificate")
    # "If the keyUsage extension is present, verify that the keyCertSign bit is set" (§6.1.4 n)
    if facts.usage is not None and not facts.usage.key_cert_sign:
        raise _refuse(facts.cert, "its key usage does not allow signing certificates")


def check_ca(
    cert: x509.Certificate, public_key: PublicKey | None, at: datetime
) -> tuple[Finding, ...]:
    """Judge whether a certificate can serve as one of our CAs (02 CA-4).

    Args:
        cert: The CA certificate.
        public_key: The public half of the key at hand, or None if there is none.
        at: Now, aware.

    Returns:
        Findings; without one of severity ``error`` the CA may sign. Codes: ``unreadable``,
        ``not_a_ca``, ``no_key_usage`` (warning), ``no_cert_sign``, ``no_crl_sign`` (warning:
        CRLs are off, leaves are not), ``not_yet_valid``, ``expired``, ``key_mismatch``,
        ``key_rejected``, ``unknown_critical_extension``, ``bad_self_signature``.
    """
    try:
        facts = _facts(cert)
        ca_key = cert.public_key()
        own_id = keys.spki_sha256(ca_key)
    except _UNREADABLE:
        return (_error("unreadable", "The certificate cannot be read."),)
    findings = []
    if not facts.is_ca:
        findings.append(_error("not_a_ca", "basicConstraints does not say CA:TRUE."))
    if facts.usage is None:
        findings.append(
            Finding(
                code="no_key_usage",
                severity=Severity.WARNING,
                text="The certificate has no keyUsage; strict clients refuse such a CA.",
            )
        )
    else:
        findings += _usage_findings(facts.usage)
    if at < cert.not_valid_before_utc:
        findings.append(_error("not_yet_valid", "The certificate is not valid yet."))
    if at > cert.not_valid_after_utc:
        findings.append(_error("expired", "The certificate has expired."))
    if public_key is not None and keys.spki_sha256(public_key) != own_id:
        findings.append(_error("key_mismatch", "The key does not belong to the certificate."))
    try:
        keys.check_key(ca_key)
    except KeyRejected as error:
        findings.append(_error("key_rejected", error.detail))
    if facts.unknown_critical is not None:
        text = f"The critical extension {facts.unknown_critical} is not known."
        findings.append(_error("unknown_critical_extension", text))
    if facts.self_issued and facts.aki in (None, facts.ski) and not _signed_by(cert, cert):
        findings.append(_error("bad_self_signature", "The self-signature does not verify."))
    return tuple(findings)


def _usage_findings(usage: x509.KeyUsage) -> list[Finding]:
    findings = []
    if not usage.key_cert_sign:
        findings.append(_error("no_cert_sign", "keyUsage does not allow signing certificates."))
    if not usage.crl_sign:
        findings.append(
            Finding(
                code="no_crl_sign",
                severity=Severity.WARNING,
                text="keyUsage does not allow signing CRLs; no CRL can be published.",
            )
        )
    return findings


def _error(code: str, text: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, text=text)
