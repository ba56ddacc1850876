"""An issuer that signs with a CA key of its own.

A real plugin talks to a vendor through ``self.ctx.http``; this one keeps its CA in a file, so that it
runs anywhere. It shows what every issuer has: a configuration, a manifest, ``test`` and ``submit``.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from typing_extensions import override

from certctl_core.contracts.errors import ConfigError, RequestRejected, UpstreamUnavailable
from certctl_core.contracts.issuers import Cap, Check, CheckReport, Issued, Issuer, IssueRequest
from certctl_core.contracts.options import AbsPath, Duration, PluginConfig, option
from certctl_core.contracts.plugin import hookimpl

CA_LIFETIME = timedelta(days=3650)
BACKDATE = timedelta(minutes=5)  # for clients whose clock is a little behind
EKUS = {
    "serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
    "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH,
}


class ExampleCAConfig(PluginConfig):
    """What the operator can set."""

    key_path: AbsPath = option(
        title="CA file",
        help="Holds the CA key and its certificate; made on first use with mode 0600.",
        example="/var/lib/certctl/example-ca.pem",
    )
    common_name: str = option(
        "Example CA",
        title="CA name",
        help="Common name of the CA that is made on first use.",
        min_length=1,
        max_length=64,
    )
    validity: Duration = option(
        "90d", title="Validity", help="Longest lifetime of a certificate, such as 12h or 90d."
    )


class ExampleCA(Issuer):
    """Signs what the core allows."""

    kind = "example-ca"
    title = "Example CA"
    api_version = 1
    summary = "A CA in one file, to show how an issuer plugin is written."
    Config = ExampleCAConfig
    # Only what `submit` really does. The core refuses requests that need anything else.
    capabilities = frozenset({Cap.CA_CHAIN, Cap.TTL, Cap.EKU, Cap.IP_SAN, Cap.WILDCARD, Cap.NO_CN})
    config: ExampleCAConfig

    @override
    def test(self) -> CheckReport:
        """Look at the CA file, without making it."""
        path = Path(self.config.key_path)
        if path.exists():
            _, certificate = self._load(path)
            days = (certificate.not_valid_after_utc - self.ctx.clock.now()).days
            detail = f"the CA certificate is valid for {days} more days"
            return CheckReport.of([Check(name="ca_file", ok=days > 0, detail=detail)])
        ok = path.parent.is_dir() and os.access(path.parent, os.W_OK)
        detail = "will be made on first use" if ok else "its directory is not there or not writable"
        hint = f"Make the directory {path.parent} and let certctl write to it."
        return CheckReport.of([Check(name="ca_file", ok=ok, detail=detail, hint=hint)])

    @override
    def submit(self, req: IssueRequest) -> Issued:
        """Sign one certificate."""
        key, ca = self._ca()
        now = self.ctx.clock.now()
        end = min(now + self.config.validity, ca.not_valid_after_utc)
        if req.max_ttl is not None:
            end = min(end, now + req.max_ttl)
        if req.not_after is not None:
            end = min(end, req.not_after)
        unknown = set(req.ekus) - set(EKUS)
        if unknown:
            raise RequestRejected(
                reason=f"extended key usages not offered: {', '.join(sorted(unknown))}"
            )
        try:
            public_key = x509.load_der_x509_csr(req.csr_der).public_key()
        except ValueError:
            raise RequestRejected(reason="the CSR cannot be read") from None
        names = [
            *(x509.DNSName(name) for name in req.dns_names),
            *(x509.IPAddress(ipaddress.ip_address(ip)) for ip in req.ip_addresses),
        ]
        subject = []
        if req.common_name:
            subject = [x509.NameAttribute(NameOID.COMMON_NAME, req.common_name)]
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(subject))
            .issuer_name(ca.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(end)
            .add_extension(x509.SubjectAlternativeName(names), critical=not req.common_name)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([EKUS[name] for name in req.ekus]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()),
                critical=False,
            )
            .sign(key, hashes.SHA256())
        )
        return Issued(
            leaf=_pem(leaf), chain=(_pem(ca),), vendor_ref=f"example-{leaf.serial_number:x}"
        )

    @override
    def ca_chain(self) -> list[str]:
        """The CA certificate."""
        return [_pem(self._ca()[1])]

    def _ca(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        path = Path(self.config.key_path)
        if not path.exists():
            # Only one process makes it; whoever waited finds it made.
            with self.ctx.lock("make-ca", timedelta(minutes=1), wait=timedelta(seconds=10)):
                if not path.exists():
                    self._make(path)
        return self._load(path)

    def _make(self, path: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.config.common_name)])
        now = self.ctx.clock.now()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(now + CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        text = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        _write_private(path, text + _pem(certificate).encode())
        self.ctx.log.info("example_ca_made", path=str(path))

    @staticmethod
    def _load(path: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UpstreamUnavailable(reason=f"{path}: {error.strerror}") from None
        try:
            key = serialization.load_pem_private_key(data, password=None)
            certificate = x509.load_pem_x509_certificate(data)
        except (ValueError, TypeError):
            raise ConfigError(reason=f"{path} does not hold a key and its certificate") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigError(reason=f"{path} does not hold an EC key")
        return key, certificate


def _write_private(path: Path, data: bytes) -> None:
    """Write a file that is either complete or not there, and that only we can read."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UpstreamUnavailable(reason=f"{path}: {error.strerror}") from None


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@hookimpl
def certctl_issuers() -> list[type[Issuer]]:
    """Offer the example CA."""
    return [ExampleCA]
