"""What would be issued under a profile: a sample, signed with a key that is thrown away.

The CA key is not touched and nothing is stored.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache

from certctl_core.kernel.clock import Clock
from certctl_core.kernel.errors import FieldError, Invalid
from certctl_core.lifecycle.authorities import (
    AuthorityKey,
    AuthorityService,
    AuthorityUnavailable,
)
from certctl_core.lifecycle.certificates import parse_names
from certctl_core.lifecycle.issuance.schemas import (
    PreviewFinding,
    PreviewProfile,
    PreviewSentence,
    ProfilePreview,
    SampleCertificate,
    SampleExtension,
)
from certctl_core.lifecycle.issuers import IssuerService
from certctl_core.lifecycle.profiles import (
    Level,
    ProfileBody,
    check_request,
    choose_attributes,
    explain,
    is_short_lived,
    validity,
)
from certctl_core.pki import lint
from certctl_core.pki.errors import PKIError
from certctl_core.pki.keys import KeyAlgorithm, SigningKey, describe_key, generate
from certctl_core.pki.names import GeneralName, sort_names
from certctl_core.pki.serials import new_serial
from certctl_core.pki.x509 import LeafSpec, build_leaf, describe, parse_attributes, to_pem

_BACKDATE = timedelta(seconds=60)
"""As of the local CA (02 CERT-10)."""
_MOST_CN = 64
_PREFERRED = (
    KeyAlgorithm.ECDSA_P256,
    KeyAlgorithm.ECDSA_P384,
    KeyAlgorithm.ECDSA_P521,
    KeyAlgorithm.ED25519,
    KeyAlgorithm.RSA_2048,
    KeyAlgorithm.RSA_3072,
    KeyAlgorithm.RSA_4096,
    KeyAlgorithm.ML_DSA_44,
    KeyAlgorithm.ML_DSA_65,
    KeyAlgorithm.ML_DSA_87,
)


@lru_cache(maxsize=len(_PREFERRED))
def _throwaway(algorithm: KeyAlgorithm) -> SigningKey:
    """A key for samples only; making RSA keys takes too long to do it each time."""
    return generate(algorithm)


class ProfilePreviewer:
    """The use case behind the profile editor's live explanation."""

    def __init__(
        self, *, authorities: AuthorityService, issuers: IssuerService, clock: Clock
    ) -> None:
        self._authorities = authorities
        self._issuers = issuers
        self._clock = clock

    def preview(self, body: PreviewProfile) -> ProfilePreview:
        """Explain a profile, and build what our own CA would issue under it.

        Raises:
            BadName: A sample name is not usable.
            Invalid: The subject is no RFC 4514 name.
            IssuerNotFound: No such issuer.
        """
        profile = body.profile
        default = self._issuers.default_validity(body.issuer_id)
        sentences = [
            PreviewSentence(level=item.level.value, text=item.text)
            for item in explain(profile, issuer_default=default)
        ]
        names = parse_names(body.names[0], body.names[1:])
        algorithm = body.key_algorithm or _first_allowed(profile, names)
        refusals = [item.text for item in sentences if item.level == "refusal"]
        attributes, said = choose_attributes(profile, _attributes(body.subject))
        refusals += [item.detail for item in said if not item.ok]
        sentences += [
            PreviewSentence(level=Level.WARNING.value, text=f"{_capital(item.detail)}.")
            for item in said
            if item.ok and item.detail
        ]
        if algorithm is None:
            refusals.append("No key that can be made here is allowed.")
        else:
            key = describe_key(_throwaway(algorithm).public_key())
            verdicts = check_request(profile, key=key, csr_ekus=(), names=names)
            refusals += [
                item.detail for item in verdicts if not item.ok and item.rule != "profile.enabled"
            ]
        sample: SampleCertificate | None = None
        findings: tuple[PreviewFinding, ...] = ()
        if algorithm is not None and self._issuers.is_local(body.issuer_id):
            try:
                lifetime = validity(profile, default)
                sample, findings = self._sample(body, names, attributes, algorithm, lifetime)
            except PKIError as error:
                refusals.append(error.detail)
            except AuthorityUnavailable as error:
                refusals.append(error.detail)
        return ProfilePreview(
            would_issue=not refusals,
            refusals=list(dict.fromkeys(refusals)),
            sentences=sentences,
            certificate=sample,
            findings=list(findings),
        )

    def _sample(
        self,
        body: PreviewProfile,
        names: tuple[GeneralName, ...],
        attributes: tuple[tuple[str, str], ...],
        algorithm: KeyAlgorithm,
        lifetime: timedelta,
    ) -> tuple[SampleCertificate, tuple[PreviewFinding, ...]]:
        profile = body.profile
        authority = self._authorities.signing_key(body.issuer_id)
        now = self._clock.now()
        short = is_short_lived(profile)
        urls, serial = authority.urls, new_serial()
        spec = LeafSpec(
            public_key=_throwaway(algorithm).public_key(),
            common_name=body.names[0] if len(body.names[0]) <= _MOST_CN else None,
            names=sort_names(names),
            ekus=tuple(profile.allowed_ekus),
            not_before=now - _BACKDATE,
            not_after=min(now + lifetime, authority.not_after),
            serial=serial,
            must_staple=profile.must_staple,
            no_rev_avail=short,
            crl_urls=urls.crl_of(serial) if profile.include_cdp and not short else (),
            ocsp_urls=urls.ocsp if profile.include_aia and not short else (),
            ca_issuer_urls=urls.ca_issuers if profile.include_aia else (),
            subject_attributes=attributes,
        )
        leaf = build_leaf(spec, issuer=authority.template, key=_throwaway(_algorithm(authority)))
        found = tuple(
            PreviewFinding(code=item.code, severity=item.severity.value, text=item.text)
            for item in lint.lint_leaf(leaf, issuer=authority.certificate)
        )
        info = describe(leaf)
        return SampleCertificate(
            subject=info.subject,
            issuer=info.issuer_dn,
            names=[name.value for name in info.names],
            key=info.key.name,
            signature=info.signature_algorithm,
            not_before=info.not_before,
            not_after=info.not_after,
            extensions=[
                SampleExtension(name=item.name, critical=item.critical, text=item.text)
                for item in info.extensions
            ],
            size=len(to_pem(leaf)),
        ), found


def _attributes(subject: str) -> tuple[tuple[str, str | bytes], ...]:
    try:
        return parse_attributes(subject)
    except PKIError as error:
        message = "is not an RFC 4514 name such as OU=Web,O=Example,C=DE"
        raise Invalid(fields=[FieldError(field="subject", message=message)]) from error


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _algorithm(authority: AuthorityKey) -> KeyAlgorithm:
    return KeyAlgorithm(describe_key(authority.certificate.public_key()).name)


def _first_allowed(profile: ProfileBody, names: tuple[GeneralName, ...]) -> KeyAlgorithm | None:
    for algorithm in _PREFERRED:
        key = describe_key(_throwaway(algorithm).public_key())
        verdicts = check_request(profile, key=key, csr_ekus=(), names=names)
        if all(item.ok for item in verdicts if item.rule == "profile.key_algorithm"):
            return algorithm
    return None
