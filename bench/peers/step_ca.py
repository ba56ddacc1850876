"""smallstep's step-ca with its Badger database and a JWK provisioner."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from bench.load import post_all
from bench.material import make_authority, request_pem
from bench.model import Bench
from bench.processes import first_line, free_port, kill, program, running

DEBIAN_VERSION = "library 0.19.0 of Debian"
"""What has no command that would tell its version."""

_KEY_ID = "bench"
_CONFIG = "ca.json"
_CONNECTIONS = 16
_STOCK = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One of the builds that are measured.

    Attributes:
        program: Its file.
        hint: How to get it.
    """

    program: str
    hint: str


SHIPPED = Build(
    program="step-ca", hint="go install github.com/smallstep/certificates/cmd/step-ca@latest"
)
DEBIAN = Build(
    program="step-ca-0.19", hint="built from Debian's library: bench/peers/step_ca_debian/main.go"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCA:
    """A running step-ca.

    Attributes:
        command: How it was started.
    """

    url: str
    folder: Path
    pid: int
    command: list[str]
    provisioner: ec.EllipticCurvePrivateKey
    root_fingerprint: str

    def token(self, name: str) -> str:
        """A one-time token that allows one certificate for the name."""
        now = int(time.time())
        claims = {
            "aud": f"{self.url}/1.0/sign",
            "iss": "bench",
            "sub": name,
            "sans": [name],
            "jti": secrets.token_hex(16),
            "iat": now,
            "nbf": now - 10,
            "exp": now + 3600,
            "sha": self.root_fingerprint,
        }
        head = _encoded({"alg": "ES256", "kid": _KEY_ID, "typ": "JWT"})
        signed = f"{head}.{_encoded(claims)}"
        r, s = decode_dss_signature(
            self.provisioner.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        )
        return f"{signed}.{_base64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """A step-ca with a past, ready to be started.

    Attributes:
        url / command: Where it will answer, and what starts it.
        folder: Its files.
        certificates: How many it signed.
    """

    url: str
    folder: Path
    command: list[str]
    certificates: int

    @property
    def megabytes(self) -> float:
        """What its database takes on the disk (Badger allots its files ahead of their use)."""
        files = (path for path in (self.folder / "db").rglob("*") if path.is_file())
        return sum(path.stat().st_blocks * 512 for path in files) / 1_000_000


def prepare(bench: Bench, folder: Path, build: Build = SHIPPED) -> tuple[StepCA, int]:
    """Write configuration and keys into a folder: what will run, and its port.

    Raises:
        Unavailable: This step-ca is not installed.
    """
    path = program(bench, build.program, build.hint)
    authority = make_authority(folder)
    provisioner = ec.generate_private_key(ec.SECP256R1())
    numbers = provisioner.public_key().public_numbers()
    port = free_port()
    config = {
        "root": str(authority.certificate_path),
        "crt": str(authority.certificate_path),
        "key": str(authority.key_path),
        "address": f"127.0.0.1:{port}",
        "dnsNames": ["127.0.0.1", "localhost"],
        "logger": {"format": "json"},
        "db": {"type": "badgerv2", "dataSource": str(folder / "db")},
        "authority": {
            "disableIssuedAtCheck": True,
            "provisioners": [
                {
                    "type": "JWK",
                    "name": "bench",
                    "key": {
                        "use": "sig",
                        "kty": "EC",
                        "kid": _KEY_ID,
                        "crv": "P-256",
                        "alg": "ES256",
                        "x": _base64(numbers.x.to_bytes(32, "big")),
                        "y": _base64(numbers.y.to_bytes(32, "big")),
                    },
                }
            ],
        },
        "tls": {"minVersion": 1.2, "maxVersion": 1.3},
    }
    (folder / _CONFIG).write_text(json.dumps(config))
    ca = StepCA(
        url=f"https://127.0.0.1:{port}",
        folder=folder,
        pid=0,
        command=[path, str(folder / _CONFIG)],
        provisioner=provisioner,
        root_fingerprint=hashlib.sha256(
            authority.certificate.public_bytes(Encoding.DER)
        ).hexdigest(),
    )
    return ca, port


@contextmanager
def server(bench: Bench, build: Build = SHIPPED) -> Iterator[StepCA]:
    """A running server with a fresh database."""
    ca, port = prepare(bench, bench.subfolder(build.program), build)
    with _serve(bench, ca, port) as running_ca:
        yield running_ca


def stocked(bench: Bench, build: Build, *, is_killed: bool) -> Stock:
    """A server, not running, whose database holds certificates; kept between runs.

    Args:
        is_killed: It was ended by force with the last certificate, not stopped.

    Raises:
        Unavailable: This step-ca is not installed.
    """
    path = program(bench, build.program, build.hint)
    folder = bench.cache / f"{build.program}-{_STOCK}{'-killed' if is_killed else ''}"
    done = folder / "filled"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        ca, port = prepare(bench, folder, build)
        with _serve(bench, ca, port) as server_to_fill:
            _fill(bench, server_to_fill)
            if is_killed:
                kill(server_to_fill.pid)
        done.touch()
    port = free_port()
    config = json.loads((folder / _CONFIG).read_text())
    (folder / _CONFIG).write_text(json.dumps({**config, "address": f"127.0.0.1:{port}"}))
    return Stock(
        url=f"https://127.0.0.1:{port}",
        folder=folder,
        command=[path, str(folder / _CONFIG)],
        certificates=_STOCK,
    )


@contextmanager
def _serve(bench: Bench, ca: StepCA, port: int) -> Iterator[StepCA]:
    with running(bench.on_server(ca.command), log=ca.folder / "log", port=port) as process:
        yield replace(ca, pid=process.pid)


def _fill(bench: Bench, ca: StepCA) -> None:
    names = (f"stock{number}.example.test" for number in range(_STOCK))
    post_all(
        bench,
        f"{ca.url}/1.0/sign",
        (json.dumps({"csr": request_pem(name), "ott": ca.token(name)}) for name in names),
        folder=ca.folder,
        headers={"Content-Type": "application/json"},
        connections=_CONNECTIONS,
    )


def version(bench: Bench) -> str:
    """What it says about itself."""
    return first_line(bench, SHIPPED.program, "version")


def _encoded(document: dict[str, object]) -> str:
    return _base64(json.dumps(document, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
