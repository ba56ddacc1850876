"""The contract suite of issuers (spec 06 §2, §14.2).

::

    class TestWidgets(IssuerContract):
        plugin = Widgets

        @pytest.fixture
        def raw_config(self):
            return {"base_url": "https://ca.example.com/", "api_key": "…"}

        @pytest.fixture
        def http(self):
            return FakeHTTP(WidgetsFake().answer)

An issuer without HTTP sets ``uses_http = False``. What a capability promises is tested where it is
declared; what is not declared is tested to be refused.
"""

from __future__ import annotations

import ipaddress
import itertools
import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certctl_core.contracts.errors import (
    OperationNotSupported,
    PluginError,
    PluginFailed,
    RequestNotValid,
    RequestRejected,
    UpstreamRateLimited,
)
from certctl_core.contracts.host import Guard, GuardedIssuer
from certctl_core.contracts.issuers import (
    Cap,
    CertRef,
    CheckReport,
    Issued,
    Issuer,
    IssueRequest,
    OrderRef,
    Pending,
    Reason,
    RenewalWindow,
    Revoked,
    RevokePending,
)
from certctl_core.contracts.options import PluginConfig, secret_values
from certctl_core.kernel.clock import Clock
from certctl_core.pki.serials import canonical
from certctl_core.testing.fakes import FakeClock
from certctl_core.testing.plugin_fakes import (
    EXPECTED_ERRORS,
    RETRY_AFTER_SECONDS,
    Failure,
    FakeHTTP,
    fake_context,
)
from certctl_core.testing.plugin_suite import PluginContract, live_threads

POLLS = 20
"""Polls that an order may take under test; the clock moves an hour between two of them."""

CLOCK_TOLERANCE = timedelta(hours=1)


NEEDS: dict[Cap, dict[str, Any]] = {
    Cap.IP_SAN: {"ip_addresses": ("192.0.2.7", "2001:db8::7")},
    Cap.EMAIL_SAN: {"emails": ("ops@example.com",)},
    Cap.URI_SAN: {"uris": ("spiffe://example.com/shop",)},
    Cap.WILDCARD: {"dns_names": ("*.shop.example.com",)},
    Cap.NO_CN: {"common_name": ""},
    Cap.EKU: {"ekus": ("serverAuth", "clientAuth")},
    Cap.MUST_STAPLE: {"must_staple": True},
}
"""What a request must hold to need a capability."""


def make_request(
    common_name: str = "shop.example.com",
    *,
    dns_names: Iterable[str] = ("shop.example.com",),
    **more: Any,
) -> IssueRequest:
    """A request with a new P-256 key whose CSR carries the same names.

    Args:
        common_name: Subject; empty for none.
        dns_names: DNS names.
        more: Further attributes of ``IssueRequest``; names among them go into the CSR, too.
    """
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns_names]
    names += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in more.get("ip_addresses", ())]
    names += [x509.RFC822Name(email) for email in more.get("emails", ())]
    names += [x509.UniformResourceIdentifier(uri) for uri in more.get("uris", ())]
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name(subject))
        .add_extension(x509.SubjectAlternativeName(names), critical=not subject)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    return IssueRequest(
        csr_der=csr.public_bytes(serialization.Encoding.DER),
        csr_pem=csr.public_bytes(serialization.Encoding.PEM).decode(),
        common_name=common_name,
        dns_names=tuple(dns_names),
        idempotency_key=str(uuid.uuid4()),
        tag=f"certctl:mc-{uuid.uuid4().hex[:8]}:ord-{uuid.uuid4().hex[:8]}",
        **more,
    )


def cert_ref(issued: Issued) -> CertRef:
    """How the core names an issued certificate to its issuer."""
    leaf = _leaf(issued)
    return CertRef(
        serial=canonical(leaf.serial_number),
        certificate_pem=leaf.public_bytes(serialization.Encoding.PEM).decode(),
        issuer_dn=leaf.issuer.rfc4514_string(),
        vendor_ref=issued.vendor_ref,
    )


class IssuerContract(PluginContract):
    """Every issuer must pass this.

    Attributes:
        uses_http: Whether it talks through ``ctx.http``.
        parses_json: Whether it reads answers as JSON.
    """

    plugin: ClassVar[type[Issuer]]
    base = Issuer
    uses_http: ClassVar[bool] = True
    parses_json: ClassVar[bool] = True

    @pytest.fixture
    def http(self) -> FakeHTTP:
        """The vendor. An issuer with HTTP overrides it with its strict fake."""
        return FakeHTTP()

    @pytest.fixture
    def clock(self) -> Clock:
        """The clock that the issuer sees."""
        return FakeClock()

    @pytest.fixture
    def issuer(self, config: PluginConfig, http: FakeHTTP, clock: Clock) -> GuardedIssuer:
        """The issuer behind its guard, as the core calls it."""
        return self.build(config, http, clock)

    def build(self, config: PluginConfig, http: FakeHTTP, clock: Clock) -> GuardedIssuer:
        """A fresh instance; twice with the same arguments plays a restart."""
        guard = Guard(self.plugin.kind, clock=clock, known=secret_values(config))
        issuer = GuardedIssuer(self.plugin(config, fake_context(http=http, clock=clock)), guard)
        issuer.open()
        return issuer

    def finish(self, issuer: GuardedIssuer, outcome: Issued | Pending, clock: Clock) -> Issued:
        """Poll until the certificate is there."""
        for _ in range(POLLS):
            if isinstance(outcome, Issued):
                return outcome
            if isinstance(clock, FakeClock):
                clock.advance(timedelta(hours=1))
            # Only the vendor's own reference: all that is sure to survive a crash.
            outcome = issuer.poll(OrderRef(vendor_ref=outcome.vendor_ref))
        pytest.fail(f"the order was not finished after {POLLS} polls")

    def issue(
        self, issuer: GuardedIssuer, clock: Clock, request: IssueRequest | None = None
    ) -> Issued:
        """Order a certificate and wait for it."""
        return self.finish(issuer, issuer.submit(request or make_request()), clock)

    # -- the happy path -------------------------------------------------------------------------

    def test_dry_run_is_good_and_changes_nothing(
        self, issuer: GuardedIssuer, http: FakeHTTP
    ) -> None:
        """``test()`` looks, names what it looked at, and orders nothing."""
        report = issuer.test()
        assert isinstance(report, CheckReport)
        assert report.ok, report
        assert report.checks
        assert all(check.name == check.name.lower().replace(" ", "_") for check in report.checks)
        if self.uses_http:
            assert self.writes(http) == 0

    def writes(self, http: FakeHTTP) -> int:
        """Requests that change something at the vendor; override it where POST only reads."""
        return sum(request.method not in {"GET", "HEAD", "OPTIONS"} for request in http.requests)

    def test_issued_certificate_is_what_was_asked_for(
        self, issuer: GuardedIssuer, clock: Clock
    ) -> None:
        """Key, names, dates and signature fit the request."""
        request = make_request()
        issued = self.issue(issuer, clock, request)
        leaf = _leaf(issued)
        csr = x509.load_der_x509_csr(request.csr_der)
        assert _spki(leaf.public_key()) == _spki(csr.public_key())
        assert set(request.dns_names) <= set(_dns_names(leaf))
        if self.plugin.reject_extra_sans:
            assert set(_dns_names(leaf)) == set(request.dns_names)
        assert not _is_ca(leaf)
        assert leaf.not_valid_before_utc <= clock.now() + CLOCK_TOLERANCE
        assert leaf.not_valid_after_utc > clock.now()
        if issued.chain:
            parents = [x509.load_pem_x509_certificate(pem.encode()) for pem in issued.chain]
            parent = next(item for item in parents if item.subject == leaf.issuer)
            leaf.verify_directly_issued_by(parent)
        if Cap.ASYNC in issuer.capabilities:
            assert issued.vendor_ref

    def test_two_orders_are_two_certificates(self, issuer: GuardedIssuer, clock: Clock) -> None:
        """Serial numbers differ."""
        serials = {_leaf(self.issue(issuer, clock)).serial_number for _ in range(2)}
        assert len(serials) == 2

    def test_successor_can_be_ordered(self, issuer: GuardedIssuer, clock: Clock) -> None:
        """``renew`` gives another certificate for the same names."""
        first = self.issue(issuer, clock)
        previous = cert_ref(first)
        request = replace(make_request(), previous=previous)
        second = self.finish(issuer, issuer.renew(request, previous), clock)
        assert _leaf(second).serial_number != _leaf(first).serial_number

    def test_instance_needs_no_memory(
        self, config: PluginConfig, http: FakeHTTP, clock: Clock
    ) -> None:
        """After a restart a pending order is finished from the vendor's reference alone."""
        outcome = self.build(config, http, clock).submit(make_request())
        assert self.finish(self.build(config, http, clock), outcome, clock).leaf

    # -- capabilities -----------------------------------------------------------------------------

    @pytest.mark.parametrize("capability", sorted(NEEDS))
    def test_need_is_met_or_refused(
        self, issuer: GuardedIssuer, clock: Clock, http: FakeHTTP, capability: Cap
    ) -> None:
        """A declared capability shows in the certificate; a missing one sends nothing."""
        request = make_request(**{"common_name": "shop.example.com", **NEEDS[capability]})
        if capability not in issuer.capabilities:
            with pytest.raises(RequestNotValid):
                issuer.submit(request)
            assert self.writes(http) == 0
            return
        try:
            leaf = _leaf(self.issue(issuer, clock, request))
        except (RequestNotValid, RequestRejected):
            # One instance's template or product may forbid what the kind can do.
            pytest.skip(f"this configuration refuses {capability}")
        assert _shows(leaf, capability, request)

    def test_lifetime_is_kept(self, issuer: GuardedIssuer, clock: Clock) -> None:
        """With ``TTL`` the certificate ends within the cap."""
        if Cap.TTL not in issuer.capabilities:
            pytest.skip("does not declare TTL")
        cap = timedelta(hours=6)
        leaf = _leaf(self.issue(issuer, clock, make_request(max_ttl=cap)))
        assert leaf.not_valid_after_utc <= clock.now() + cap + CLOCK_TOLERANCE

    def test_repeated_order_is_one_order(self, issuer: GuardedIssuer, clock: Clock) -> None:
        """With ``IDEMPOTENT`` the same key gives the same certificate."""
        if Cap.IDEMPOTENT not in issuer.capabilities:
            pytest.skip("does not declare IDEMPOTENT")
        request = make_request()
        first, second = (self.issue(issuer, clock, request) for _ in range(2))
        assert first.leaf == second.leaf

    def test_chain_leads_to_the_leaf(self, issuer: GuardedIssuer, clock: Clock) -> None:
        """With ``CA_CHAIN`` the first certificate of the chain issued the leaf."""
        if Cap.CA_CHAIN not in issuer.capabilities:
            with pytest.raises(OperationNotSupported):
                issuer.ca_chain()
            return
        chain = [x509.load_pem_x509_certificate(pem.encode()) for pem in issuer.ca_chain()]
        assert chain
        _leaf(self.issue(issuer, clock)).verify_directly_issued_by(chain[0])
        for child, parent in itertools.pairwise(chain):
            child.verify_directly_issued_by(parent)

    def test_renewal_window_is_one(self, issuer: GuardedIssuer, clock: Clock) -> None:
        """With ``RENEWAL_INFO`` the window has a length."""
        if Cap.RENEWAL_INFO not in issuer.capabilities:
            pytest.skip("does not declare RENEWAL_INFO")
        window = issuer.renewal_info(cert_ref(self.issue(issuer, clock)))
        if window is not None:
            assert isinstance(window, RenewalWindow)
            assert window.start < window.end

    # -- revocation -------------------------------------------------------------------------------

    def test_revocation_is_idempotent(self, issuer: GuardedIssuer, clock: Clock) -> None:
        """Twice is a success; without ``REVOKE`` it is not supported."""
        ref = cert_ref(self.issue(issuer, clock))
        if Cap.REVOKE not in issuer.capabilities:
            with pytest.raises(OperationNotSupported):
                issuer.revoke(ref, Reason.SUPERSEDED)
            return
        first = issuer.revoke(ref, Reason.SUPERSEDED)
        if isinstance(first, RevokePending):
            assert first.vendor_ref
            return
        assert issuer.revoke(ref, Reason.SUPERSEDED) == Revoked(already=True)

    @pytest.mark.parametrize("reason", sorted(Reason))
    def test_each_reason_is_taken_or_refused(
        self, issuer: GuardedIssuer, clock: Clock, reason: Reason
    ) -> None:
        """No reason of RFC 5280 makes the plugin fail."""
        if Cap.REVOKE not in issuer.capabilities:
            pytest.skip("does not declare REVOKE")
        ref = cert_ref(self.issue(issuer, clock))
        outcome: object
        try:
            outcome = issuer.revoke(ref, reason)
        except (RequestNotValid, RequestRejected) as error:
            outcome = error
        assert isinstance(outcome, Revoked | RevokePending | PluginError)
        if reason in self.plugin.revocation_reasons:
            assert isinstance(outcome, Revoked | RevokePending)

    # -- failures ---------------------------------------------------------------------------------

    @pytest.mark.parametrize("failure", sorted(Failure))
    def test_failure_has_its_type(
        self, issuer: GuardedIssuer, http: FakeHTTP, failure: Failure
    ) -> None:
        """Each failure of the vendor is the right error, and holds no secret."""
        if not self.uses_http:
            pytest.skip("does not use HTTP")
        if failure is Failure.BAD_JSON and not self.parses_json:
            pytest.skip("does not read JSON")
        http.failure = failure
        with pytest.raises(EXPECTED_ERRORS[failure]) as caught:
            issuer.submit(make_request())
        error = caught.value
        if isinstance(error, UpstreamRateLimited):
            assert error.retry_after == timedelta(seconds=RETRY_AFTER_SECONDS)
        self.assert_silent(issuer, f"{error} {error.detail} {error.data} {error.log}")

    @pytest.mark.parametrize("failure", sorted(Failure))
    def test_failed_dry_run_is_a_report(
        self, issuer: GuardedIssuer, http: FakeHTTP, failure: Failure
    ) -> None:
        """A test that finds trouble says so in its report, without secrets."""
        if not self.uses_http or (failure is Failure.BAD_JSON and not self.parses_json):
            pytest.skip("cannot fail so")
        http.failure = failure
        report = issuer.test()
        assert not report.ok
        self.assert_silent(issuer, str(report))

    def test_garbage_is_refused_with_a_type(self, issuer: GuardedIssuer) -> None:
        """A CSR that is none leads to a refusal, not to a defect."""
        request = replace(make_request(), csr_der=b"\x30\x00", csr_pem="nonsense")
        with pytest.raises(PluginError) as caught:
            issuer.submit(request)
        assert not isinstance(caught.value, PluginFailed)

    def assert_silent(self, issuer: GuardedIssuer, text: str) -> None:
        """No secret of the instance is in a text."""
        for value in secret_values(issuer.inner.config):
            assert value.reveal() not in text

    # -- life cycle -------------------------------------------------------------------------------

    def test_background_duty_says_when_next(self, issuer: GuardedIssuer) -> None:
        """``tick`` returns a delay or None."""
        wait = issuer.tick()
        assert wait is None or wait > timedelta()

    def test_leaves_no_thread_behind(
        self, config: PluginConfig, http: FakeHTTP, clock: Clock
    ) -> None:
        """After ``close`` everything is as before; closing twice is fine."""
        before = live_threads()
        issuer = self.plugin(config, fake_context(http=http, clock=clock))
        issuer.open()
        issuer.test()
        issuer.close()
        issuer.close()
        assert live_threads() <= before


def _leaf(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.leaf.encode())


def _spki(key: Any) -> bytes:
    data: bytes = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return data


def _sans(leaf: x509.Certificate) -> x509.SubjectAlternativeName:
    return leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def _dns_names(leaf: x509.Certificate) -> list[str]:
    return _sans(leaf).get_values_for_type(x509.DNSName)


def _is_ca(leaf: x509.Certificate) -> bool:
    try:
        return leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _shows(leaf: x509.Certificate, capability: Cap, request: IssueRequest) -> bool:
    match capability:
        case Cap.IP_SAN:
            found = {str(ip) for ip in _sans(leaf).get_values_for_type(x509.IPAddress)}
            return set(request.ip_addresses) <= found
        case Cap.EMAIL_SAN:
            return set(request.emails) <= set(_sans(leaf).get_values_for_type(x509.RFC822Name))
        case Cap.URI_SAN:
            found = set(_sans(leaf).get_values_for_type(x509.UniformResourceIdentifier))
            return set(request.uris) <= found
        case Cap.WILDCARD:
            return set(request.dns_names) <= set(_dns_names(leaf))
        case Cap.NO_CN:
            return not leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        case Cap.EKU:
            usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            return ExtendedKeyUsageOID.CLIENT_AUTH in usages
        case _:
            features = leaf.extensions.get_extension_for_class(x509.TLSFeature).value
            return x509.TLSFeatureType.status_request in features
