"""The contract suite of deployment targets, and the laboratory it works in (spec 07 PLG-05).

A plugin's test module binds it::

    def nginx(lab: TargetLab) -> tuple[type[FileTarget], dict[str, object]]:
        return Nginx, {
            "cert_path": lab.path("cert.pem"),
            "key_path": lab.path("key.pem"),
            "validate_command": lab.validate_command,
            "reload_command": lab.reload_command,
            "verify": lab.verify,
        }

    TestNginx = target_contract(nginx)

The laboratory's commands are scripts whose result the suite decides; its endpoint serves, after each
reload, whatever ``serve`` last put there. Scripts must belong to root or to the user of the tests.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from certctl_core.contracts.options import ConfigInvalid
from certctl_core.contracts.targets import Bundle, FileTarget
from certctl_core.deploy import DeployEngine, DeployReport, Outcome, Policy, Stage
from certctl_core.deploy.files import MARK
from certctl_core.kernel.clock import SystemClock
from certctl_core.pki.keys import private_key_pem
from certctl_core.pki.serials import new_serial
from certctl_core.pki.x509 import to_pem

TARGET_ID = "tgt-contract"
_WAIT_SECONDS = 30.0
_WORLD = 0o007


class Crash(BaseException):
    """The process dies here; nothing may catch it."""


class Authority:
    """A root and an intermediate CA that issue bundles; for tests."""

    def __init__(self) -> None:
        # The machine's time, not a fake one: real TLS peers judge what is issued here.
        self.now = SystemClock().now().replace(microsecond=0)
        self._root_key = ec.generate_private_key(ec.SECP256R1())
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._sign("Test Root", self._root_key, None, self._root_key, ca=True)
        self.intermediate = self._sign("Test CA", self._key, self.root, self._root_key, ca=True)

    def issue(
        self,
        version_id: str,
        *,
        name: str = "www.example.test",
        certificate_id: str = "crt-contract",
        days: int = 30,
    ) -> Bundle:
        """Issue a certificate with a new key.

        Args:
            version_id: Of the bundle.
            name: Its DNS name.
            certificate_id: Of the bundle.
            days: Lifetime from now; negative for one that has expired.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._sign(name, key, self.intermediate, self._key, days=days)
        return Bundle.build(
            to_pem(leaf),
            to_pem(self.intermediate) + to_pem(self.root),
            private_key_pem(key),
            certificate_id,
            version_id,
        )

    def _sign(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        issuer: x509.Certificate | None,
        issuer_key: ec.EllipticCurvePrivateKey,
        *,
        ca: bool = False,
        days: int = 30,
    ) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if issuer is None else issuer.subject)
            .public_key(key.public_key())
            .serial_number(new_serial())
            .not_valid_before(self.now - timedelta(days=60))
            .not_valid_after(self.now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            names = x509.SubjectAlternativeName([x509.DNSName(name)])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(issuer_key, hashes.SHA256())


class TLSEndpoint:
    """A TLS server on loopback that shows the certificate files it was last told to.

    Args:
        directory: For its private copy of the files.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / "endpoint.pem"
        self._context: ssl.SSLContext | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def serve(self, bundle: Bundle, *, chain: bool = True) -> None:
        """Show this certificate from the next handshake on."""
        text = bundle.fullchain if chain else bundle.leaf
        self._file.write_bytes(bundle.key + text.encode())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._file)
        self._context = context

    def close(self) -> None:
        """Stop."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(_WAIT_SECONDS)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                context = self._context
                if context is None:
                    continue
                connection.settimeout(_WAIT_SECONDS)
                with contextlib.suppress(OSError):
                    context.wrap_socket(connection, server_side=True).close()


class TargetLab:
    """A host in a directory: files, commands, an endpoint, and an engine over them.

    Args:
        directory: An empty directory.

    Attributes:
        authority: Issues bundles.
        endpoint: What is served.
        verify: Configuration of the verification against the endpoint.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = directory / "files"
        self.files.mkdir(mode=0o755)
        self.authority = Authority()
        self.endpoint = TLSEndpoint(directory)
        self._validate = self._script("validate")
        self._reload = self._script("reload")
        self.verify: dict[str, object] = {
            "endpoint": f"127.0.0.1:{self.endpoint.port}",
            "server_name": "www.example.test",
            "attempts": 1,
            "timeout": f"{_WAIT_SECONDS:g}s",
        }

    @property
    def validate_command(self) -> list[str]:
        """The command that judges the configuration."""
        return [str(self._validate)]

    @property
    def reload_command(self) -> list[str]:
        """The command that reloads the service."""
        return [str(self._reload)]

    def path(self, name: str) -> str:
        """A path that the target may write."""
        return str(self.files / name)

    def fail(self, command: str, *, times: int = 1_000_000, printing: str = "") -> None:
        """Let ``validate`` or ``reload`` fail the next times.

        Args:
            command: Which one.
            times: How often.
            printing: A file that it prints.
        """
        (self.directory / f"{command}.fail").write_text(f"{times}\n{printing}\n")

    def mend(self, command: str) -> None:
        """Let a command succeed again."""
        (self.directory / f"{command}.fail").unlink(missing_ok=True)

    def runs(self, command: str) -> int:
        """How often a command ran."""
        log = self.directory / f"{command}.log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def engine(self) -> DeployEngine:
        """A new engine over the same state, as after a restart of the agent."""
        policy = Policy(
            roots=(str(self.files),),
            commands=((str(self._validate),), (str(self._reload),)),
        )
        return DeployEngine(
            self.directory / "state",
            policy,
            SystemClock(),
            structlog.get_logger("certctl.deploy"),
            lock_wait=timedelta(),
        )

    def close(self) -> None:
        """Stop the endpoint."""
        self.endpoint.close()

    def _script(self, name: str) -> Path:
        path = self.directory / name
        fail = self.directory / f"{name}.fail"
        path.write_text(
            "#!/bin/sh\n"
            f"echo run >> {self.directory}/{name}.log\n"
            f"[ -f {fail} ] || exit 0\n"
            f"{{ read times; read file; }} < {fail}\n"
            '[ "$times" -gt 0 ] || exit 0\n'
            f'printf "%s\\n%s\\n" $((times - 1)) "$file" > {fail}\n'
            '[ -z "$file" ] || cat "$file"\n'
            f"echo {name} refuses\n"
            "exit 1\n"
        )
        path.chmod(0o700)
        return path


TargetFactory = Callable[[TargetLab], tuple[type[FileTarget], dict[str, object]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """A file as the suite compares it."""

    data: bytes
    mode: int
    uid: int
    gid: int


class TargetContract:
    """What every file target keeps; ``target_contract`` makes the class that pytest collects."""

    factory: TargetFactory

    @pytest.fixture
    def lab(self, tmp_path: Path) -> Iterator[TargetLab]:
        """The laboratory of one test."""
        lab = TargetLab(tmp_path)
        yield lab
        lab.close()

    def _target(self, lab: TargetLab, engine: DeployEngine) -> FileTarget:
        target, config = type(self).factory(lab)
        return engine.build(target, config, target_id=TARGET_ID)

    def _deploy(
        self,
        lab: TargetLab,
        bundle: Bundle,
        *,
        on_stage: Callable[[Stage], None] | None = None,
        serve: bool = True,
        dry_run: bool = False,
    ) -> DeployReport:
        engine = lab.engine()

        def stage(name: Stage) -> None:
            if on_stage is not None:
                on_stage(name)
            # The service reads its files when it is reloaded, so it shows them afterwards.
            if name is Stage.VERIFY and serve:
                lab.endpoint.serve(bundle)

        return engine.deploy(
            self._target(lab, engine),
            bundle,
            version_id=bundle.version_id,
            target_id=TARGET_ID,
            on_stage=stage,
            dry_run=dry_run,
        )

    def _paths(self, lab: TargetLab, bundle: Bundle) -> list[tuple[Path, bool]]:
        plan = self._target(lab, lab.engine()).plan(bundle)
        return [(Path(file.path), file.secret) for file in plan.files]

    def _facts(self, lab: TargetLab, bundle: Bundle) -> dict[str, FileFacts]:
        found = {}
        for path, _ in self._paths(lab, bundle):
            if path.exists():
                state = path.stat()
                found[str(path)] = FileFacts(
                    data=path.read_bytes(),
                    mode=stat.S_IMODE(state.st_mode),
                    uid=state.st_uid,
                    gid=state.st_gid,
                )
        return found

    def _leftovers(self, lab: TargetLab) -> list[str]:
        places = (lab.files, lab.directory / "state" / "journal")
        return [str(path) for place in places for path in place.rglob(f"*{MARK}*")] + [
            str(path) for path in (lab.directory / "state" / "journal").glob("*")
        ]

    def test_first_deployment_writes_every_file(self, lab: TargetLab) -> None:
        """Every file of the plan is there afterwards, and the outcome is ``deployed``."""
        bundle = lab.authority.issue("v1")
        report = self._deploy(lab, bundle)

        assert report.outcome is Outcome.DEPLOYED, report
        assert all(path.is_file() for path, _ in self._paths(lab, bundle))
        assert self._leftovers(lab) == []

    def test_second_run_changes_nothing_and_does_not_reload(self, lab: TargetLab) -> None:
        """The same version twice is ``unchanged``."""
        bundle = lab.authority.issue("v1")
        self._deploy(lab, bundle)
        before, reloads = self._facts(lab, bundle), lab.runs("reload")
        report = self._deploy(lab, bundle)

        assert report.outcome is Outcome.UNCHANGED, report
        assert self._facts(lab, bundle) == before
        assert lab.runs("reload") == reloads

    @pytest.mark.parametrize("failing", ["validate", "reload", "verify"])
    def test_a_failure_after_the_change_puts_everything_back(
        self, lab: TargetLab, failing: str
    ) -> None:
        """Bytes, modes and owners are the old ones; the outcome is ``rolled_back``."""
        old, new = lab.authority.issue("v1"), lab.authority.issue("v2")
        target = self._target(lab, lab.engine())
        commands = {"validate": target.plan(old).validate, "reload": target.plan(old).reload}
        if not commands.get(failing, (True,)) or (
            failing == "verify" and target.config.verify.endpoint is None
        ):
            pytest.skip(f"this target does not {failing}")
        self._deploy(lab, old)
        before = self._facts(lab, old)

        def break_it(stage: Stage) -> None:
            if stage.value.lower() == failing != "verify":
                lab.fail(failing, times=1)

        report = self._deploy(lab, new, on_stage=break_it, serve=failing != "verify")

        assert report.outcome is Outcome.ROLLED_BACK, report
        assert report.failure is not None
        assert report.failure.code == f"{failing}_failed"
        assert self._facts(lab, old) == before
        assert self._leftovers(lab) == []

    @pytest.mark.parametrize("at", list(Stage)[4:])
    def test_a_crash_leaves_the_old_or_the_new_state(self, lab: TargetLab, at: Stage) -> None:
        """After recovery every file is of one version, and nothing is left over."""
        old, new = lab.authority.issue("v1"), lab.authority.issue("v2")
        self._deploy(lab, old)
        before = self._facts(lab, old)

        def crash(stage: Stage) -> None:
            if stage is at:
                raise Crash

        with pytest.raises(Crash):
            self._deploy(lab, new, on_stage=crash)
        reloaded = at in {Stage.VERIFY, Stage.FINISH}
        lab.endpoint.serve(new if reloaded else old)
        reports = lab.engine().recover()

        if at in {Stage.SNAPSHOT, Stage.JOURNAL}:
            assert reports == []
        else:
            assert [report.outcome.ok for report in reports] == [reloaded]
        if not reloaded:
            assert self._facts(lab, old) == before
        assert self._leftovers(lab) == []
        assert self._deploy(lab, new).outcome.ok

    def test_a_file_with_a_key_is_never_open_to_everybody(self, lab: TargetLab) -> None:
        """A new one is not, and one that was open is tightened and reported."""
        first, second = lab.authority.issue("v1"), lab.authority.issue("v2")
        self._deploy(lab, first)
        secret = [path for path, is_secret in self._paths(lab, first) if is_secret]
        assert secret
        assert all(not path.stat().st_mode & _WORLD for path in secret)

        secret[0].chmod(0o644)
        report = self._deploy(lab, second)

        assert report.outcome is Outcome.DEPLOYED
        assert stat.S_IMODE(secret[0].stat().st_mode) == 0o640
        assert any(str(secret[0]) in warning for warning in report.warnings)

    def test_mode_and_owner_of_a_file_stay(self, lab: TargetLab) -> None:
        """What the operator set by hand survives a renewal."""
        first, second = lab.authority.issue("v1"), lab.authority.issue("v2")
        self._deploy(lab, first)
        for path, is_secret in self._paths(lab, first):
            path.chmod(0o400 if is_secret else 0o604)
        before = self._facts(lab, first)
        self._deploy(lab, second)

        after = self._facts(lab, second)
        assert {k: (f.mode, f.uid, f.gid) for k, f in after.items()} == {
            k: (f.mode, f.uid, f.gid) for k, f in before.items()
        }

    def test_a_link_stays_a_link(self, lab: TargetLab) -> None:
        """The file that it leads to is replaced."""
        first, second = lab.authority.issue("v1"), lab.authority.issue("v2")
        self._deploy(lab, first)
        elsewhere = lab.files / "elsewhere"
        elsewhere.mkdir()
        path = self._paths(lab, first)[0][0]
        path.rename(elsewhere / "real.pem")
        path.symlink_to(elsewhere / "real.pem")
        old = path.read_bytes()
        report = self._deploy(lab, second)

        assert report.outcome is Outcome.DEPLOYED
        assert path.is_symlink()
        assert (elsewhere / "real.pem").read_bytes() != old

    def test_no_secret_reaches_the_report(self, lab: TargetLab) -> None:
        """Even if a command prints the key file."""
        old, new = lab.authority.issue("v1"), lab.authority.issue("v2")
        target = self._target(lab, lab.engine())
        if not target.plan(old).validate:
            pytest.skip("this target runs no command that could print")
        self._deploy(lab, old)
        secret = next(path for path, is_secret in self._paths(lab, old) if is_secret)

        def leak(stage: Stage) -> None:
            if stage is Stage.VALIDATE:
                lab.fail("validate", times=1, printing=str(secret))

        report = self._deploy(lab, new, on_stage=leak)

        failure = report.failure
        assert failure is not None
        text = json.dumps([report.to_json(), failure.to_json()]) + repr(report)
        body = new.key.decode().splitlines()[1:-1]
        assert "PRIVATE KEY" not in text
        assert not [line for line in body if line in text]
        assert new.key.decode() not in repr(new)

    def test_an_unknown_configuration_key_is_refused(self, lab: TargetLab) -> None:
        """The model forbids what it does not know."""
        target, config = type(self).factory(lab)
        with pytest.raises(ConfigInvalid):
            lab.engine().build(target, {**config, "no_such_key": 1}, target_id=TARGET_ID)

    def test_a_dry_run_changes_nothing_and_says_what_would(self, lab: TargetLab) -> None:
        """It lists each file with what would happen to it."""
        bundle = lab.authority.issue("v1")
        report = self._deploy(lab, bundle, dry_run=True)
        changes = report.details["changes"]

        assert report.outcome is Outcome.UNCHANGED
        assert isinstance(changes, list)
        assert [change["action"] for change in changes if isinstance(change, dict)] == [
            "create" for _ in self._paths(lab, bundle)
        ]
        assert self._facts(lab, bundle) == {}
        assert lab.runs("reload") == 0

    def test_the_check_passes_on_a_sound_host_and_writes_nothing(self, lab: TargetLab) -> None:
        """``check`` looks without touching."""
        bundle = lab.authority.issue("v1")
        lab.endpoint.serve(bundle)
        engine = lab.engine()
        report = engine.check(self._target(lab, engine))

        assert report.ok, report
        assert self._facts(lab, bundle) == {}


def target_contract(factory: TargetFactory) -> type[TargetContract]:
    """Bind the suite to a target.

    Args:
        factory: Given the laboratory, returns the target class and its configuration.

    Returns:
        A class to be assigned to a name that pytest collects: ``TestNginx = target_contract(…)``.
    """
    return type("BoundTargetContract", (TargetContract,), {"factory": staticmethod(factory)})
