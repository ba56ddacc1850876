"""The ``local`` issuer: certificates signed by a CA key of our own (02 §5, §6).

A built-in: ``app`` registers ``LocalIssuerPlugin`` through the same hook as any plugin. It always
answers ``Issued``; the caller writes the ledger row in the transaction that stores the version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, TypeAlias, cast

import structlog
from cryptography import x509
from typing_extensions import override

from certctl_core.contracts.checks import Check, CheckReport
from certctl_core.contracts.issuers import (
    Cap,
    CertRef,
    Issued,
    Issuer,
    IssuerContext,
    IssueRequest,
    Reason,
    Revoked,
)
from certctl_core.contracts.options import PluginConfig
from certctl_core.contracts.plugin import API_VERSION, hookimpl
from certctl_core.kernel.errors import FieldError
from certctl_core.lifecycle.authorities.errors import (
    AuthorityUnavailable,
    CAMaterialError,
    LeafNotPossible,
    LintRefused,
    MustStapleNeedsOCSPURL,
    NameConstraintViolated,
    SelfCheckFailed,
)
from certctl_core.lifecycle.authorities.schemas import LocalConfig
from certctl_core.lifecycle.authorities.types import AuthorityKey
from certctl_core.pki import chain, lint
from certctl_core.pki.errors import (
    MustStapleNeedsOCSP,
    NameConstraintViolation,
    PKIError,
)
from certctl_core.pki.names import GeneralName, NameType, sort_names
from certctl_core.pki.serials import canonical
from certctl_core.pki.x509 import LeafDraft, LeafSpec, draft_leaf, to_pem

if TYPE_CHECKING:
    from certctl_core.lifecycle.authorities.service import AuthorityService

_log = structlog.get_logger("certctl.authorities")

KIND = "local"
BACKDATE = timedelta(seconds=60)
"""``notBefore`` lies this far back, for clients whose clock is slow (02 CERT-10)."""

Linter: TypeAlias = Callable[[x509.Certificate], Sequence[str]]
"""Gives the codes of what is wrong with a certificate that is not signed yet."""

_KEY_USAGES = frozenset({"digitalSignature", "keyEncipherment", "nonRepudiation"})


class Local(Issuer):
    """A CA whose key is here: made on first use, or the operator's files."""

    kind = KIND
    title = "Local CA"
    api_version = API_VERSION
    Config = LocalConfig
    aliases = ("GenericCA", "local_ca")
    summary = "Signs with a CA key of this installation; publishes CRL and OCSP itself."
    capabilities = frozenset(
        {
            Cap.REVOKE,
            Cap.HOLD,
            Cap.CA_CHAIN,
            Cap.TTL,
            Cap.EKU,
            Cap.MUST_STAPLE,
            Cap.IP_SAN,
            Cap.EMAIL_SAN,
            Cap.URI_SAN,
            Cap.WILDCARD,
            Cap.NO_CN,
            Cap.IDEMPOTENT,
            Cap.CRL_URL,
            Cap.OCSP_URL,
        }
    )

    authorities: ClassVar[AuthorityService]
    """Set by ``LocalIssuerPlugin`` on the class that it registers."""

    linters: ClassVar[tuple[Linter, ...]] = ()
    """Further linters beside our own; set like ``authorities``."""

    def __init__(self, config: PluginConfig, ctx: IssuerContext) -> None:
        super().__init__(config, ctx)
        self._is_ensured = False
        self.authorities.check_issuing(self._issuer_id, self._config)

    @property
    def _config(self) -> LocalConfig:
        return cast("LocalConfig", self.config)

    @property
    def _issuer_id(self) -> str:
        return self.ctx.instance_id

    @override
    def effective_capabilities(self) -> frozenset[Cap]:
        urls = self.authorities.urls(self._issuer_id, self._config)
        return _capabilities(self.capabilities, crl=bool(urls.crl), ocsp=bool(urls.ocsp))

    @override
    def open(self) -> None:
        """Look at the CA, so that a bad one shows at once; one that is missing is not made yet."""
        self.authorities.preflight(self._issuer_id, self._config)

    def _ensure(self) -> None:
        """Take the CA in, or make it, on first use: a trial start leaves nothing behind."""
        if not self._is_ensured:
            self.authorities.ensure(self._issuer_id, self._config)
            self._is_ensured = True

    @override
    def test(self) -> CheckReport:
        try:
            warnings = self.authorities.preflight(self._issuer_id, self._config)
        except CAMaterialError as error:
            return CheckReport.failed("ca", error)
        made = "" if warnings is not None else "The CA is made on first use."
        checks = [Check(name="ca", ok=True, detail=made)]
        checks += [Check(name="ca_warning", ok=True, detail=text) for text in warnings or ()]
        urls = self.authorities.urls(self._issuer_id, self._config)
        missing = not (urls.crl and urls.ocsp)
        checks.append(
            Check(
                name="addresses",
                ok=True,
                detail="Certificates carry no CRL or OCSP address." if missing else "",
                hint="Set CERTCTL_PKI_BASE_URL or CERTCTL_PUBLIC_URL." if missing else "",
            )
        )
        return CheckReport.of(checks)

    @override
    def validate_request(self, req: IssueRequest) -> Sequence[FieldError]:
        problems = []
        if req.other_names:
            problems.append(FieldError(field="other_names", message="are not issued by this CA"))
        unknown = sorted(set(req.key_usages) - _KEY_USAGES)
        if unknown:
            message = f"are not issued by this CA: {', '.join(unknown)}"
            problems.append(FieldError(field="key_usages", message=message))
        return problems

    @override
    def submit(self, req: IssueRequest) -> Issued:
        """Sign a certificate for the CSR's key and the request's names.

        Raises:
            AuthorityUnavailable: No CA key may sign now.
            LeafNotPossible: The request cannot be certified; ``fields`` says why.
            LintRefused: The certificate would break a rule; nothing was signed.
        SelfCheckFailed: The result is not what it should be; it is discarded.
        """
        problems = self.validate_request(req)
        if problems:
            raise LeafNotPossible(problems)
        self._ensure()
        authority = self.authorities.signing_key(self._issuer_id)
        now = self.ctx.clock.now()
        serial = self.authorities.new_serial()
        spec = self._spec(req, authority, serial=serial, now=now)
        try:
            draft = draft_leaf(spec, issuer=authority.template)
        except MustStapleNeedsOCSP as error:
            message = "needs an OCSP address in the certificate, and there is none"
            fields = [FieldError(field="must_staple", message=message)]
            raise MustStapleNeedsOCSPURL(fields) from error
        except NameConstraintViolation as error:
            raise NameConstraintViolated(_at("names", error)) from error
        except PKIError as error:
            raise LeafNotPossible(_at("request", error)) from error
        self._lint(draft, authority)
        leaf = draft.signed(authority.key)
        _self_check(leaf, authority, now=now)
        above = [authority.certificate_pem, *map(to_pem, authority.above)]
        return Issued(
            leaf=to_pem(leaf), chain=tuple(above), vendor_ref=f"local-{canonical(serial)}"
        )

    def _lint(self, draft: LeafDraft, authority: AuthorityKey) -> None:
        """Check what is about to be signed, before the CA key touches it."""
        try:
            lint.require_clean(draft.certificate, issuer=authority.certificate)
        except PKIError as error:
            raise LintRefused(_at("request", error)) from error
        codes = [code for linter in self.linters for code in linter(draft.certificate)]
        if codes:
            message = f"a linter objects: {', '.join(codes)}"
            raise LintRefused([FieldError(field="request", message=message)])

    @override
    def revoke(self, cert: CertRef, reason: Reason) -> Revoked:
        """Nothing to tell anybody: the revocation row is what CRL and OCSP are made from."""
        del cert, reason
        return Revoked()

    @override
    def unhold(self, cert: CertRef) -> None:
        """Nothing to tell anybody, as for ``revoke``."""
        del cert

    @override
    def ca_chain(self) -> list[str]:
        self._ensure()
        authority = self.authorities.find_current(self._issuer_id)
        if authority is None:
            raise AuthorityUnavailable(issuer_id=self._issuer_id)
        return [authority.certificate_pem, *map(to_pem, authority.above)]

    def _spec(
        self, req: IssueRequest, authority: AuthorityKey, *, serial: int, now: datetime
    ) -> LeafSpec:
        common_name, attributes = _subject(req)
        ends = [now + timedelta(days=self._config.validity_days), authority.not_after]
        if req.max_ttl is not None:
            ends.append(now + req.max_ttl)
        if req.not_after is not None:
            ends.append(req.not_after)
        urls = authority.urls
        aia = req.include_aia and not req.short_lived
        return LeafSpec(
            public_key=x509.load_der_x509_csr(req.csr_der).public_key(),
            common_name=common_name,
            names=_names(req),
            ekus=req.ekus,
            not_before=now - BACKDATE,
            not_after=min(ends),
            serial=serial,
            must_staple=req.must_staple,
            no_rev_avail=req.short_lived,
            crl_urls=urls.crl_of(serial) if req.include_cdp and not req.short_lived else (),
            ocsp_urls=urls.ocsp if aia else (),
            ca_issuer_urls=urls.ca_issuers if req.include_aia else (),
            subject_attributes=attributes,
        )


@lru_cache(maxsize=16)
def _capabilities(all_of_them: frozenset[Cap], *, crl: bool, ocsp: bool) -> frozenset[Cap]:
    absent = {cap for cap, there in ((Cap.CRL_URL, crl), (Cap.OCSP_URL, ocsp)) if not there}
    return all_of_them - absent


def _subject(req: IssueRequest) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    """Common name and the other attributes (OID, value) of the request's subject, in order."""
    common_name = req.common_name or None
    if not req.subject:
        return common_name, ()
    try:
        subject = x509.Name.from_rfc4514_string(req.subject)
    except ValueError as error:
        fields = [FieldError(field="subject", message="is not an RFC 4514 name")]
        raise LeafNotPossible(fields) from error
    attributes = []
    for attribute in subject:
        value = attribute.value
        if not isinstance(value, str):
            fields = [FieldError(field="subject", message="has an attribute that is not text")]
            raise LeafNotPossible(fields)
        if attribute.oid == x509.NameOID.COMMON_NAME:
            common_name = common_name or value
        else:
            attributes.append((attribute.oid.dotted_string, value))
    return common_name, tuple(attributes)


def _names(req: IssueRequest) -> tuple[GeneralName, ...]:
    return sort_names(
        GeneralName(type=kind, value=value)
        for kind, values in (
            (NameType.DNS, req.dns_names),
            (NameType.IP, req.ip_addresses),
            (NameType.EMAIL, req.emails),
            (NameType.URI, req.uris),
        )
        for value in values
    )


def _self_check(leaf: x509.Certificate, authority: AuthorityKey, *, now: datetime) -> None:
    """Verify signature and path before anything leaves; all else was linted (02 CERT-20)."""
    try:
        chain.verify_signature(leaf, authority.certificate)
        if authority.above:
            chain.verify_path(
                leaf, (authority.certificate, *authority.above[:-1]), authority.above[-1:], now
            )
    except PKIError as error:
        _log.error(
            "leaf.self_check_failed",
            issuer_id=authority.issuer_id,
            ca_key_id=authority.ca_key_id,
            serial=canonical(leaf.serial_number),
            reason=error.detail,
        )
        raise SelfCheckFailed from error


def _at(attribute: str, error: PKIError) -> list[FieldError]:
    return [FieldError(field=attribute, message=error.detail.rstrip("."))]


class LocalIssuerPlugin:
    """The hook implementation that registers the ``local`` kind, bound to one installation."""

    def __init__(self, authorities: AuthorityService, linters: Sequence[Linter] = ()) -> None:
        attributes = {
            "authorities": authorities,
            "linters": tuple(linters),
            "__module__": Local.__module__,
            "__doc__": Local.__doc__,
        }
        self._issuer = cast("type[Issuer]", type(Local.__name__, (Local,), attributes))

    @hookimpl
    def certctl_issuers(self) -> list[type[Issuer]]:
        """The ``local`` kind."""
        return [self._issuer]
