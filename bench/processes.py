"""Starting, waiting for and stopping the programs that are measured."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.model import Bench, Broken, Unavailable

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_NOT_PASSED_ON = {"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"}
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def program(bench: Bench, name: str, hint: str) -> str:
    """The path of a program: below the peers' folder, else on the PATH.

    Raises:
        Unavailable: It is neither; the hint says how to get it.
    """
    for folder in (bench.peers / "bin", bench.peers / "django" / "bin"):
        if (folder / name).is_file():
            return str(folder / name)
    extended = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=extended)
    if found is None:
        raise Unavailable(what=name, hint=hint)
    return found


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Ours with additions, as an installation has it: compiled modules are kept."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
    return {**kept, **extra}


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def running(
    command: list[str],
    *,
    log: Path,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    port: int | None = None,
    says: str = "",
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives as long as the block.

    Args:
        port: Wait until somebody listens there.
        says: Wait until this stands in the log; for those whom a probing connection would stop.

    Raises:
        Broken: It ended or did not listen in time; its last words are in the text.
    """
    env = environment(environ or {})
    with log.open("ab") as sink:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    try:
        if port is not None:
            wait_for_port(port, process, log)
        if says:
            _wait_for_word(says, process, log)
        yield process
    finally:
        stop(process)


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until somebody accepts connections on the port."""
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise Broken(
                what=str(process.args), why=f"ended with {process.returncode}: {tail(log)}"
            )
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise Broken(what=str(process.args), why=f"does not listen on {port}: {tail(log)}")


def _wait_for_word(word: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while word not in log.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > until:
            raise Broken(what=str(process.args), why=f"never said {word!r}: {tail(log)}")
        time.sleep(0.01)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and whatever it started in its session."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def kill(pid: int) -> None:
    """End a process that ``running`` started, and whatever it started itself, as a crash does."""
    os.killpg(pid, signal.SIGKILL)


def run(command: list[str], *, cwd: Path | None = None, **environ: str) -> str:
    """Run to the end and give stdout.

    Raises:
        Broken: The exit code was not 0.
    """
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(environ),
    )
    if done.returncode:
        why = f"ended with {done.returncode}: {done.stderr[-400:]}"
        raise Broken(what=" ".join(command[:6]), why=why)
    return done.stdout


def first_line(bench: Bench, name: str, *arguments: str) -> str:
    """What a program says about itself, on whichever stream; "" when it is not there."""
    try:
        command = [program(bench, name, ""), *arguments]
    except Unavailable:
        return ""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].strip() if lines else ""


def tail(log: Path) -> str:
    """The last words of a log."""
    return log.read_text(errors="replace")[-600:] if log.exists() else ""


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for known in found:
        found += parents.get(known, [])
    return found


def proportional_kilobytes(pid: int) -> float:
    """Memory of a process and its descendants as PSS: shared pages are counted once."""
    total = 0
    for member in family(pid):
        try:
            text = Path(f"/proc/{member}/smaps_rollup").read_text()
        except OSError:
            continue
        found = _PSS.search(text)
        total += int(found[1]) if found else 0
    return float(total)


def peak_kilobytes(pid: int) -> float:
    """The most memory that one process of a family ever had resident (VmHWM)."""
    peaks = [0.0]
    for member in family(pid):
        try:
            found = _PEAK.search(Path(f"/proc/{member}/status").read_text())
        except OSError:
            continue
        peaks.append(float(found[1]) if found else 0.0)
    return max(peaks)


def cpu_seconds(pid: int) -> float:
    """CPU time that a process and its living descendants have used."""
    ticks = 0
    for member in family(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
