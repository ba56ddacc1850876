"""Pure decisions: may this CSR be issued under this profile? (spec 02 PROF-1 … PROF-4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import lru_cache

from certctl_core.kernel.errors import FieldError
from certctl_core.lifecycle.profiles.types import ProfileTerms, Verdict, is_short_lived
from certctl_core.pki.errors import PKIError
from certctl_core.pki.keys import KeyInfo
from certctl_core.pki.names import GeneralName, NameType
from certctl_core.pki.x509 import EKU_OIDS, attribute_label, check_subject_value, eku_oid


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@lru_cache(maxsize=128)
def _spiffe(pattern: str) -> re.Pattern[str]:
    """``*`` is one path segment; a trailing ``/*`` is one or more."""
    tail = pattern.endswith("/*")
    body = pattern[:-2] if tail else pattern
    text = "[^/]+".join(re.escape(part) for part in body.split("*"))
    return re.compile(text + (r"(/[^/]+)+" if tail else ""))


def check_request(
    profile: ProfileTerms,
    *,
    key: KeyInfo,
    csr_ekus: Sequence[str],
    names: Iterable[GeneralName],
) -> list[Verdict]:
    """Every rule of the profile on one request; all are evaluated so that all faults show.

    Args:
        profile: The profile that governs the certificate.
        key: The public key of the CSR.
        csr_ekus: Extended key usages that the CSR asks for; may be empty.
        names: The names that would be certified.
    """
    names = list(names)
    return [
        Verdict(
            rule="profile.enabled",
            ok=profile.enabled,
            detail="" if profile.enabled else "the profile is disabled",
        ),
        _key(profile, key),
        _ekus(profile, csr_ekus),
        *_patterns(profile, names),
        *_spiffe_rule(profile, names),
    ]


def _key(profile: ProfileTerms, key: KeyInfo) -> Verdict:
    ok = any(
        rule.algorithm == key.family and key.size >= rule.min_size
        for rule in profile.allowed_key_algorithms
    )
    allowed = ", ".join(
        f"{rule.algorithm}≥{rule.min_size}" if rule.min_size else rule.algorithm
        for rule in profile.allowed_key_algorithms
    )
    detail = "" if ok else f"key {key.name} is not among {allowed}"
    return Verdict(rule="profile.key_algorithm", ok=ok, detail=detail)


def _ekus(profile: ProfileTerms, asked: Sequence[str]) -> Verdict:
    refused = [name for name in asked if name not in profile.allowed_ekus]
    detail = f"extended key usage not allowed: {', '.join(refused)}" if refused else ""
    return Verdict(rule="profile.extended_key_usage", ok=not refused, detail=detail)


def _patterns(profile: ProfileTerms, names: Sequence[GeneralName]) -> list[Verdict]:
    if not profile.required_san_patterns:
        return []
    patterns = [_compiled(pattern) for pattern in profile.required_san_patterns]
    outside = [
        name.value
        for name in names
        if not any(pattern.fullmatch(name.value) for pattern in patterns)
    ]
    detail = f"names outside the required patterns: {', '.join(outside)}" if outside else ""
    return [Verdict(rule="profile.san_patterns", ok=not outside, detail=detail)]


def _spiffe_rule(profile: ProfileTerms, names: Sequence[GeneralName]) -> list[Verdict]:
    if not profile.spiffe_uri_pattern:
        return []
    uris = [
        name.value
        for name in names
        if name.type is NameType.URI and name.value.startswith("spiffe://")
    ]
    ok = len(uris) == 1 and bool(_spiffe(profile.spiffe_uri_pattern).fullmatch(uris[0]))
    detail = "" if ok else "exactly one SPIFFE URI that matches the profile is needed"
    return [Verdict(rule="profile.spiffe", ok=ok, detail=detail)]


def choose_attributes(
    profile: ProfileTerms, attributes: Sequence[tuple[str, str | bytes]]
) -> tuple[tuple[tuple[str, str], ...], list[Verdict]]:
    """Which attributes of a CSR's subject are certified, besides the common name (02 CERT-4).

    What the profile does not allow is left out, and the verdict says so; what it allows must be
    safe, or nothing is issued.

    Args:
        profile: The profile that governs the certificate.
        attributes: (dotted OID, value) in the order of the subject.

    Returns:
        Those to certify, in their order, and what there is to say; nothing without attributes.
    """
    if not attributes:
        return (), []
    chosen: list[tuple[str, str]] = []
    left_out: list[str] = []
    faults: list[str] = []
    for oid, value in attributes:
        name = attribute_label(oid)
        if name not in profile.allowed_subject_attributes:
            left_out.append(name)
        elif not isinstance(value, str):
            faults.append(f"the subject's {name} is not text")
        else:
            try:
                check_subject_value(oid, value)
            except PKIError as error:
                faults.append(error.detail)
            chosen.append((oid, value))
    if faults:
        detail = "; ".join(fault.rstrip(".") for fault in faults)
        return (), [Verdict(rule="profile.subject_attributes", ok=False, detail=detail)]
    detail = ""
    if left_out:
        detail = f"left out of the subject: {', '.join(dict.fromkeys(left_out))}"
    return tuple(chosen), [Verdict(rule="profile.subject_attributes", ok=True, detail=detail)]


def stamps_beside_others(ekus: Sequence[str]) -> bool:
    """Whether timeStamping is one usage of several (RFC 3161 §2.3: it must be the only one)."""
    oids = {eku_oid(name) for name in ekus}
    return len(oids) > 1 and EKU_OIDS["timeStamping"] in oids


def impossible(profile: ProfileTerms) -> list[FieldError]:
    """Members that contradict each other: nothing could be issued under such a profile."""
    found = []
    if stamps_beside_others(profile.allowed_ekus):
        message = "timeStamping must be the only usage (RFC 3161 §2.3): make a profile for it alone"
        found.append(FieldError(field="allowed_ekus", message=message))
    if profile.must_staple and is_short_lived(profile):
        message = "needs an OCSP pointer, which short-lived certificates do not carry"
        found.append(FieldError(field="must_staple", message=message))
    elif profile.must_staple and not profile.include_aia:
        message = "needs the OCSP pointer: switch include_aia on"
        found.append(FieldError(field="must_staple", message=message))
    return found


def validity(profile: ProfileTerms, issuer_default: timedelta) -> timedelta:
    """How long a certificate may live: the profile's wish, within its cap (02 CERT-10)."""
    wish = (
        timedelta(seconds=profile.default_validity_seconds)
        if profile.default_validity_seconds
        else issuer_default
    )
    if profile.max_ttl_seconds:
        return min(wish, timedelta(seconds=profile.max_ttl_seconds))
    return wish
