"""Pure decisions of the choke point: is this request acceptable? (spec 02 §6, §7; 06 ISS-8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from cryptography import x509

from certctl_core.lifecycle.profiles import ProfileView, Verdict, check_request
from certctl_core.pki.keys import spki_sha256
from certctl_core.pki.names import GeneralName, from_x509
from certctl_core.pki.x509 import CSRInfo, eku_oid

_CLOCK_TOLERANCE = timedelta(hours=1)


def decide(
    csr: CSRInfo,
    names: Sequence[GeneralName],
    profile: ProfileView,
    *,
    key_in_use: str | None,
    key_is_blocked: bool = False,
    weak_key_list: str | None = None,
) -> list[Verdict]:
    """Every rule on one request, in the choke point's order: CSR and key, names, profile.

    Args:
        csr: The parsed request; its signature was verified by the parser.
        names: The names authorised for the certificate.
        profile: The governing profile.
        key_in_use: SPKI digest that the new key must equal (``reuse_key``), or None.
        key_is_blocked: The key is on the list of those that are not certified.
        weak_key_list: The name of a list of weak keys that it is on, or None.
    """
    blocked = ""
    if key_is_blocked:
        blocked = "the key is blocked: make a new one"
    elif weak_key_list is not None:
        blocked = f"the key is on the list of weak keys {weak_key_list!r}: make a new one"
    verdicts = [
        Verdict(rule="key.blocked", ok=not blocked, detail=blocked),
        _names_authorised(csr, names),
    ]
    if csr.must_staple and not profile.must_staple:
        verdicts.append(
            Verdict(
                rule="csr.must_staple",
                ok=False,
                detail="the CSR asks for must-staple, the profile does not allow it",
            )
        )
    if key_in_use is not None:
        same = csr.spki_sha256 == key_in_use
        detail = "" if same else "the profile keeps the key, the CSR carries another one"
        verdicts.append(Verdict(rule="profile.reuse_key", ok=same, detail=detail))
    verdicts += check_request(profile, key=csr.key, csr_ekus=csr.ekus, names=names)
    return verdicts


def _names_authorised(csr: CSRInfo, names: Sequence[GeneralName]) -> Verdict:
    authorised = set(names)
    foreign = [name.value for name in csr.names if name not in authorised]
    if csr.common_name is not None:
        known = {name.value.lower() for name in names}
        if csr.common_name.lower() not in known:
            foreign.append(csr.common_name)
    detail = f"the CSR names {', '.join(dict.fromkeys(foreign))}, which is not authorised"
    return Verdict(rule="csr.names", ok=not foreign, detail=detail if foreign else "")


def faults_of(
    leaf: x509.Certificate,
    issuing: x509.Certificate | None,
    *,
    csr: CSRInfo,
    names: Sequence[GeneralName],
    ekus: Sequence[str],
    not_after_cap: datetime,
    now: datetime,
) -> list[str]:
    """What is wrong with a certificate that an issuer returned; empty = it is what was asked for.

    Checks key, names, validity, extended key usage, CA flag and the signature by ``issuing``; a
    certificate whose signature was checked already is given without it.
    """
    faults = []
    found = {type(extension.value): extension.value for extension in leaf.extensions}
    if spki_sha256(leaf.public_key()) != csr.spki_sha256:
        faults.append("its public key is not the CSR's")
    faults += _name_faults(found, set(names))
    if leaf.not_valid_after_utc > not_after_cap + _CLOCK_TOLERANCE:
        faults.append("it is valid for longer than allowed")
    if leaf.not_valid_after_utc <= now:
        faults.append("it is expired already")
    faults += _usage_faults(found, ekus)
    if issuing is not None:
        try:
            leaf.verify_directly_issued_by(issuing)
        except (ValueError, TypeError) as error:
            faults.append(f"its signature does not verify: {error}")
        except Exception:  # noqa: BLE001 - InvalidSignature is no ValueError
            faults.append("its signature does not verify under its chain")
    return faults


_Found = Mapping[type[x509.ExtensionType], x509.ExtensionType]


def _name_faults(extensions: _Found, wanted: set[GeneralName]) -> list[str]:
    san = extensions.get(x509.SubjectAlternativeName)
    if not isinstance(san, x509.SubjectAlternativeName):
        return ["it carries no subject alternative name"] if wanted else []
    found = set(from_x509(san))
    faults = []
    if wanted - found:
        missing = sorted(name.value for name in wanted - found)
        faults.append(f"names are missing: {', '.join(missing)}")
    if found - wanted:
        extra = sorted(name.value for name in found - wanted)
        faults.append(f"names were added: {', '.join(extra)}")
    return faults


def _usage_faults(extensions: _Found, ekus: Sequence[str]) -> list[str]:
    faults = []
    basic = extensions.get(x509.BasicConstraints)
    if isinstance(basic, x509.BasicConstraints) and basic.ca:
        faults.append("it is a CA certificate")
    wanted = {eku_oid(name) for name in ekus}
    usage = extensions.get(x509.ExtendedKeyUsage)
    if not isinstance(usage, x509.ExtendedKeyUsage):
        return [*faults, "it carries no extended key usage"] if wanted else faults
    missing = wanted - {oid.dotted_string for oid in usage}
    if missing:
        faults.append(f"extended key usages are missing: {', '.join(sorted(missing))}")
    return faults
