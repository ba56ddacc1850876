"""A profile in sentences: what will and what will not be issued under it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum

from certctl_core.lifecycle.profiles.rules import stamps_beside_others, validity
from certctl_core.lifecycle.profiles.schemas import ProfileBody
from certctl_core.lifecycle.profiles.types import is_short_lived
from certctl_core.values import dataclass

_BROWSER_LIMIT = timedelta(days=398)
_USES = {
    "serverAuth": "TLS servers",
    "clientAuth": "TLS clients",
    "codeSigning": "code signing",
    "emailProtection": "e-mail (S/MIME)",
    "timeStamping": "time stamping",
    "smartCardLogon": "smart card logon",
    "ipsecIKE": "IPsec",
    "kerberosClientAuth": "Kerberos clients",
    "documentSigning": "document signing",
    "anyExtendedKeyUsage": "anything",
}


class Level(StrEnum):
    """How much a sentence matters."""

    INFO = "info"
    WARNING = "warning"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True)
class Sentence:
    """One thing to know about a profile.

    Attributes:
        level: How much it matters.
        text: For people.
    """

    level: Level
    text: str


def explain(profile: ProfileBody, *, issuer_default: timedelta) -> list[Sentence]:
    """What a profile means, the hindrances first.

    Args:
        profile: Checked members of a profile.
        issuer_default: Lifetime where the profile names none.
    """
    found = [
        *_control(profile),
        *_lifetime(profile, issuer_default),
        *_keys(profile),
        *_names(profile),
        *_revocation(profile),
    ]
    order = (Level.REFUSAL, Level.WARNING, Level.INFO)
    return sorted(found, key=lambda sentence: order.index(sentence.level))


def _control(profile: ProfileBody) -> Iterator[Sentence]:
    if not profile.enabled:
        yield Sentence(Level.REFUSAL, "The profile is disabled: nothing is issued under it.")
    if profile.requires_approval:
        text = "A second person must approve each issuance, and nobody can yet: nothing is issued."
        yield Sentence(Level.REFUSAL, text)


def _lifetime(profile: ProfileBody, issuer_default: timedelta) -> Iterator[Sentence]:
    wish = timedelta(seconds=profile.default_validity_seconds) or issuer_default
    given = validity(profile, issuer_default)
    whose = "" if profile.default_validity_seconds else " (the issuer's default)"
    text = f"Certificates are valid for {_span(given)}{whose}"
    if given < wish:
        text += f", cut from {_span(wish)} by the longest lifetime"
    yield Sentence(Level.INFO, f"{text}; never longer than the CA itself.")
    if "serverAuth" in profile.allowed_ekus and given > _BROWSER_LIMIT:
        text = f"Browsers refuse TLS server certificates that are valid for over {_span(_BROWSER_LIMIT)}."
        yield Sentence(Level.WARNING, text)
    if profile.reuse_key:
        text = "Renewals keep the key: one that leaks stays useful to a thief."
        yield Sentence(Level.WARNING, text)


def _keys(profile: ProfileBody) -> Iterator[Sentence]:
    keys = [
        f"{rule.algorithm} of at least {rule.min_size} bits"
        if rule.algorithm in {"RSA", "ECDSA"}
        else rule.algorithm
        for rule in profile.allowed_key_algorithms
    ]
    yield Sentence(Level.INFO, f"Keys: {_or(keys)}. Weak and blocked keys are refused.")
    uses = [_USES.get(name, name) for name in profile.allowed_ekus]
    text = f"For {_and(uses)}; a CSR that asks for fewer usages gets those."
    yield Sentence(Level.INFO, text)
    if any(rule.algorithm == "ML-DSA" for rule in profile.allowed_key_algorithms):
        text = "ML-DSA certificates are understood by few clients so far (OpenSSL 3.5, Go 1.26)."
        yield Sentence(Level.WARNING, text)
    if stamps_beside_others(profile.allowed_ekus):
        text = "timeStamping must be the only usage of a profile (RFC 3161 §2.3)."
        yield Sentence(Level.REFUSAL, text)


def _names(profile: ProfileBody) -> Iterator[Sentence]:
    patterns = profile.required_san_patterns
    if patterns:
        text = f"Every name must match {_or(patterns)} whole."
    else:
        text = "Any name is certified that the certificate's owner asks for."
    yield Sentence(Level.INFO, text)
    if profile.spiffe_uri_pattern:
        text = f"Exactly one SPIFFE URI is demanded: {profile.spiffe_uri_pattern}."
        yield Sentence(Level.INFO, text)
    if profile.allowed_subject_attributes:
        names = _and(profile.allowed_subject_attributes)
        text = f"The subject is the common name and, where the CSR has them, {names}; nobody checks whether they are true."
        yield Sentence(Level.WARNING, text)
    else:
        text = "The subject is the common name alone: what else the CSR's subject has is left out."
        yield Sentence(Level.INFO, text)


def _revocation(profile: ProfileBody) -> Iterator[Sentence]:
    if is_short_lived(profile):
        text = "Short-lived: no CRL or OCSP pointers; noRevAvail says so (RFC 9608)."
        yield Sentence(Level.INFO, text)
        if profile.must_staple:
            text = "Must-staple needs an OCSP pointer, which short-lived certificates lack."
            yield Sentence(Level.REFUSAL, text)
        return
    if not (profile.include_aia or profile.include_cdp):
        text = "No CRL or OCSP pointers: most clients will never hear of a revocation."
        yield Sentence(Level.WARNING, text)
    if profile.must_staple:
        if profile.include_aia:
            text = "Must-staple: clients demand a stapled OCSP answer; the server has to be set up."
            yield Sentence(Level.WARNING, text)
        else:
            text = "Must-staple needs the OCSP pointer, which is switched off."
            yield Sentence(Level.REFUSAL, text)


def _span(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            number = seconds // size
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return f"{seconds} seconds"


def _and(parts: list[str]) -> str:
    return _joined(parts, "and")


def _or(parts: list[str]) -> str:
    return _joined(parts, "or")


def _joined(parts: list[str], word: str) -> str:
    if len(parts) == 1:
        return parts[0]
    return f"{', '.join(parts[:-1])} {word} {parts[-1]}"
