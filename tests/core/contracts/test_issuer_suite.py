"""The issuer suite on a vendor with everything: HTTP, orders that take time, revocation, windows."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certctl_core.contracts.errors import OrderFailed, PluginFailed, RequestRejected
from certctl_core.contracts.http import HttpResponse
from certctl_core.contracts.issuers import (
    Cap,
    CertRef,
    Check,
    CheckReport,
    Issued,
    Issuer,
    IssueRequest,
    OrderRef,
    Pending,
    Reason,
    RenewalWindow,
    Revoked,
)
from certctl_core.contracts.options import (
    HttpsUrl,
    PluginConfig,
    Secret,
    option,
    secret,
    validate_config,
)
from certctl_core.testing.fakes import EPOCH, FakeClock
from certctl_core.testing.issuer import IssuerContract, make_request
from certctl_core.testing.plugin_fakes import Failure, FakeHTTP, SentRequest

KEY = "canary-widgets-key"


class WidgetsConfig(PluginConfig):
    base_url: HttpsUrl = option(title="API URL", help="Where the CA answers.")
    api_key: Secret = secret(title="API key", help="From the portal.")


class Widgets(Issuer):
    kind = "widgets"
    title = "Widgets CA"
    api_version = 1
    Config = WidgetsConfig
    config: WidgetsConfig
    capabilities = frozenset(
        {
            *(Cap.ASYNC, Cap.REVOKE, Cap.CA_CHAIN, Cap.RENEWAL_INFO, Cap.TTL, Cap.IDEMPOTENT),
            *(Cap.IP_SAN, Cap.WILDCARD, Cap.NO_CN, Cap.EKU, Cap.EMAIL_SAN, Cap.URI_SAN),
            Cap.MUST_STAPLE,
        }
    )
    revocation_reasons: ClassVar[Mapping[Reason, str]] = {
        Reason.SUPERSEDED: "replaced",
        Reason.KEY_COMPROMISE: "stolen",
    }

    def _http(self):
        return self.ctx.http(self.config.base_url, headers={"x-api-key": self.config.api_key})

    def test(self):
        self._http().request("GET", "me").text_field("name")
        return CheckReport.of([Check(name="authentication", ok=True)])

    def submit(self, req: IssueRequest):
        answer = self._http().request(
            "POST",
            "orders",
            json={
                "csr": req.csr_pem,
                "key": req.idempotency_key,
                "seconds": int((req.max_ttl or timedelta(days=30)).total_seconds()),
                "ekus": list(req.ekus),
                "staple": req.must_staple,
            },
        )
        return Pending(vendor_ref=answer.text_field("id"))

    def poll(self, order: OrderRef):
        answer = self._http().request("GET", f"orders/{order.vendor_ref}")
        match answer.text_field("status"):
            case "issued":
                chain = (answer.text_field("ca"),)
                leaf = answer.text_field("pem")
                return Issued(leaf=leaf, chain=chain, vendor_ref=order.vendor_ref)
            case "refused":
                raise OrderFailed(reason="refused")
            case _:
                return Pending(vendor_ref=order.vendor_ref)

    def revoke(self, cert: CertRef, reason: Reason):
        word = self.revocation_reasons.get(reason)
        if word is None:
            raise RequestRejected(reason=f"{reason} is not offered")
        body: Any = {"serial": cert.serial, "reason": word}
        answer = self._http().request("POST", "revocations", json=body, expect=(201, 409))
        return Revoked(already=answer.status == 409)

    def ca_chain(self):
        return [self._http().request("GET", "ca").text_field("pem")]

    def renewal_info(self, cert: CertRef):
        del cert
        return RenewalWindow(start=EPOCH, end=EPOCH + timedelta(days=1))


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


class Vendor:
    """A strict stand-in: unknown paths, missing keys and repeated revocations are refused."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Widgets Root")])
        self.ca = (
            self._builder(name, name, self.key.public_key(), timedelta(days=400))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.orders: dict[str, dict[str, Any]] = {}
        self.revoked: set[str] = set()

    @staticmethod
    def _builder(subject, issuer, key, lifetime):
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(EPOCH)
            .not_valid_after(EPOCH + lifetime)
        )

    def answer(self, request: SentRequest) -> HttpResponse:
        if request.headers.get("x-api-key") != KEY:
            return self.say(401)
        path = request.url.removeprefix("https://ca.example.com/api/")
        match request.method, path.split("/"):
            case "GET", ["me"]:
                return self.say(200, {"name": "us"})
            case "GET", ["ca"]:
                return self.say(200, {"pem": pem(self.ca)})
            case "POST", ["orders"]:
                return self.order(request.json())
            case "GET", ["orders", name] if name in self.orders:
                order = self.orders[name]
                order["polls"] += 1
                if order["polls"] < 3:
                    return self.say(200, {"status": "pending"})
                return self.say(200, {"status": "issued", "pem": order["pem"], "ca": pem(self.ca)})
            case "POST", ["revocations"]:
                body: Any = request.json()
                again = body["serial"] in self.revoked
                self.revoked.add(body["serial"])
                return self.say(409 if again else 201)
            case _:
                return self.say(404)

    def order(self, body: Any) -> HttpResponse:
        for name, order in self.orders.items():
            if order["key"] == body["key"]:
                return self.say(200, {"id": name})
        try:
            csr = x509.load_pem_x509_csr(body["csr"].encode())
        except ValueError:
            return self.say(422, {"message": "bad CSR"})
        lifetime = timedelta(seconds=body["seconds"])
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        usages = {"serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
                  "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH}  # fmt: skip
        builder = (
            self._builder(csr.subject, self.ca.subject, csr.public_key(), lifetime)
            .add_extension(names.value, critical=names.critical)
            .add_extension(x509.ExtendedKeyUsage([usages[u] for u in body["ekus"]]), critical=False)
        )
        if body["staple"]:
            feature = x509.TLSFeature([x509.TLSFeatureType.status_request])
            builder = builder.add_extension(feature, critical=False)
        name = f"o{len(self.orders)}"
        leaf = builder.sign(self.key, hashes.SHA256())
        self.orders[name] = {"key": body["key"], "pem": pem(leaf), "polls": 0}
        return self.say(202, {"id": name})

    @staticmethod
    def say(status: int, body: Any = None) -> HttpResponse:
        return HttpResponse(status=status, body=b"" if body is None else json.dumps(body).encode())


class TestWidgets(IssuerContract):
    plugin = Widgets

    @pytest.fixture
    def raw_config(self):
        return {"base_url": "https://ca.example.com/api", "api_key": KEY}

    @pytest.fixture
    def http(self):
        return FakeHTTP(Vendor().answer)


class OtherKey(Widgets):
    """Swaps the request for one of its own."""

    def submit(self, req):
        return super().submit(replace(make_request(), idempotency_key=req.idempotency_key))


class Longer(Widgets):
    """Ignores the cap."""

    def submit(self, req):
        return super().submit(replace(req, max_ttl=timedelta(days=300)))


class Twice(Widgets):
    """Orders anew each time."""

    def submit(self, req):
        return super().submit(replace(req, idempotency_key=str(uuid.uuid4())))


class Forgetful(Widgets):
    """Needs its own memory to finish an order."""

    def submit(self, req):
        pending = super().submit(req)
        self.last = pending.vendor_ref
        return pending

    def poll(self, order):
        return super().poll(replace(order, vendor_ref=self.last))


class Talkative(Widgets):
    """Orders something when it is only to look."""

    def test(self):
        self.submit(make_request())
        return super().test()


class Loud(Widgets):
    """Puts its key into the report."""

    def test(self):
        return CheckReport.of([Check(name="key", ok=False, detail=self.config.api_key.reveal())])


class TestSuiteHasTeeth:
    """A plugin that breaks a promise fails the test of that promise."""

    @pytest.mark.parametrize(
        ("plugin", "test"),
        [
            (OtherKey, "test_issued_certificate_is_what_was_asked_for"),
            (Longer, "test_lifetime_is_kept"),
            (Twice, "test_repeated_order_is_one_order"),
        ],
    )
    def test_broken_promise_is_noticed(self, plugin, test):
        suite, config, http, clock = self.parts(plugin)
        with pytest.raises(AssertionError):
            getattr(suite, test)(suite.build(config, http, clock), clock)

    def test_memory_is_noticed(self):
        suite, config, http, clock = self.parts(Forgetful)
        with pytest.raises(PluginFailed):
            suite.test_instance_needs_no_memory(config, http, clock)

    def test_order_during_a_dry_run_is_noticed(self):
        suite, config, http, clock = self.parts(Talkative)
        with pytest.raises(AssertionError):
            suite.test_dry_run_is_good_and_changes_nothing(suite.build(config, http, clock), http)

    def test_shown_secret_is_noticed(self):
        suite, config, http, clock = self.parts(Loud)
        issuer = suite.build(config, http, clock)
        with pytest.raises(AssertionError):
            suite.test_failed_dry_run_is_a_report(issuer, http, Failure.TIMEOUT)

    def parts(self, plugin):
        class Suite(IssuerContract):
            pass

        Suite.plugin = plugin
        raw = {"base_url": "https://ca.example.com/api", "api_key": KEY}
        config = validate_config(WidgetsConfig, raw)
        return Suite(), config, FakeHTTP(Vendor().answer), FakeClock()


def test_vendor_is_strict():
    wrong = FakeHTTP(Vendor().answer)
    client = wrong("https://ca.example.com/api", headers={"x-api-key": KEY})
    assert client.request("GET", "nowhere", expect=(404,)).status == 404
    bare = wrong("https://ca.example.com/api")
    assert bare.request("GET", "me", expect=(401,)).status == 401
