"""The Markdown pages of the repository, and the code blocks in them.

A fence says what its block is: a language, and for shell and Python blocks how it is proven:

    ```sh test=NAME               executed; the blocks of one page with the same name are one session
    ```python test=NAME           executed as one program
    ```python test=NAME minimal   the same, and also where no extra is installed
    ```LANGUAGE test=NAME file=PATH   is there at PATH in the session's folder, from the start
    ```sh test=NAME background=WORD   runs on while the next blocks do; they wait until it prints WORD,
                                  which has to stand alone: "child_ready" is no "ready"
    ```sh test=NAME needs=nginx,root   skipped where that program, or that right, is not to be had
    ```text test=NAME output      what the block before it prints: each line of it, somewhere
    ```LANGUAGE test=NAME … clean runs in the clean environment of tests/plugins_external instead
    ```python from=PATH           an excerpt: it stands in that file word for word
    ```sh command=NAME            a command that CI itself runs (README only)
    ```sh illustrative            cannot be executed here: other hosts, other people's accounts

Everything else (``toml``, ``text``, ``json``, …) is shown only. A session has one folder and runs from
top to bottom; neighbours of one language are one program, so that variables live on in them.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 300
"""How long a program of a page may run; a busy machine takes several times as long as a quiet one."""
SHELLS = {"sh", "bash", "console", "shell"}
_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>```+)(?P<info>[^\n`]*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block: where it stands, its language, its tags, its text without the indent."""

    page: Path
    line: int
    language: str
    tags: tuple[str, ...]
    text: str

    @property
    def where(self) -> str:
        """``docs/page.md:17``, for messages."""
        return f"{name(self.page)}:{self.line}"

    def tag(self, key: str) -> str | None:
        """The value of ``key=value`` in the fence."""
        values = [tag.partition("=")[2] for tag in self.tags if tag.startswith(f"{key}=")]
        return values[0] if values else None


def name(page: Path) -> str:
    """The path of ``page`` in the repository."""
    return page.relative_to(ROOT).as_posix()


@cache
def pages() -> tuple[Path, ...]:
    """Every tracked Markdown page, news fragments aside."""
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = [ROOT / entry for entry in listing.split("\0") if entry]
    return tuple(
        page
        for page in found
        if page.is_file() and (page.parent.name != "changelog.d" or page.name == "README.md")
    )


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of ``page`` in order."""
    opened: re.Match[str] | None = None
    start, lines = 0, list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if opened is None and fence:
            opened, start, lines = fence, number, []
        elif (
            opened is not None
            and fence
            and not fence["info"].strip()
            and len(fence["ticks"]) >= len(opened["ticks"])
        ):
            language, *tags = opened["info"].split() or [""]
            yield Block(
                page=page, line=start, language=language, tags=tuple(tags), text="\n".join(lines)
            )
            opened = None
        elif opened is not None:
            lines.append(line.removeprefix(opened["indent"]))
    assert opened is None, f"{name(page)}:{start}: the block is never closed"


def prose(page: Path) -> str:
    """The text of ``page`` without its fenced blocks and code spans."""
    kept: list[str] = []
    ticks = ""
    for line in page.read_text(encoding="utf-8").splitlines():
        fence = _FENCE.match(line)
        if fence and not ticks:
            ticks = fence["ticks"]
        elif fence and len(fence["ticks"]) >= len(ticks) and not fence["info"].strip():
            ticks = ""
        elif not ticks:
            kept.append(re.sub(r"`+[^`]*`+", "", line))
    return "\n".join(kept)


def anchors(page: Path) -> set[str]:
    """The fragment names that the headings of ``page`` make."""
    found: set[str] = set()
    fenced = False
    for line in page.read_text(encoding="utf-8").splitlines():
        fenced ^= bool(_FENCE.match(line))
        if not fenced and (heading := re.match(r"#+ +(.*)", line)):
            plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading[1]).strip().lower()
            slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
            while slug in found:
                slug += "-1"
            found.add(slug)
    return found


def sessions(*, only: str = "") -> dict[str, list[Block]]:
    """The executed blocks by ``page:name``.

    Args:
        only: Those with this tag, ``minimal`` or ``clean``; without it, all that run in the
            environment of the developer.
    """
    found: dict[str, list[Block]] = {}
    for page in pages():
        for block in blocks(page):
            test = block.tag("test")
            wanted = only in block.tags if only else "clean" not in block.tags
            if test is not None and wanted:
                found.setdefault(f"{name(page)}:{test}", []).append(block)
    return found


def run(session: Sequence[Block], folder: Path, environment: Mapping[str, str]) -> None:
    """Do what the page says, in ``folder``, and compare with what it shows.

    ``python`` is the first one on the ``PATH`` of ``environment``.

    Raises:
        AssertionError: A program failed, or did not print what the page shows.
    """
    printed = ""
    for block in session:
        if name := block.tag("file"):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text + "\n", encoding="utf-8")
    for kind, group in groupby((block for block in session if not block.tag("file")), key=_kind):
        parts = list(group)
        if kind == "python":
            text = "\n".join(part.text for part in parts)
            printed = _execute(["python", "-W", "error", "-c", text], parts, folder, environment)
        else:
            _shell(parts, folder, environment, printed)


def _kind(block: Block) -> str:
    return "python" if block.language == "python" else "sh"


_MARK = "--- end of block "


def _shell(
    parts: Sequence[Block], folder: Path, environment: Mapping[str, str], printed: str
) -> None:
    """Run neighbouring shell blocks in one shell; compare what each printed with what is shown.

    Whatever still runs in the background afterwards is ended with the shell.
    """
    commands = [part for part in parts if part.language in SHELLS]
    script = ["set -euo pipefail"]
    for number, part in enumerate(commands):
        background = part.tag("background")
        if background:
            log = f"background-{number}.log"
            script.append(f"exec {part.text} >{log} 2>&1 &")
            said, give_up = f"grep -qsw -- {background} {log}", f"{{ cat {log}; exit 1; }}"
            script.append(
                f"for _ in $(seq 600); do {said} && break; sleep 0.2; kill -0 $! || {give_up}; done"
            )
            script.append(f"{said} || {give_up}")
            # What ends here is the page's own business from now on; it is no failure of ours.
            script.append("trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT")
        else:
            script.append(part.text)
        script.append(f"echo; echo '{_MARK}{number}'")
    output = _execute(["bash", "-c", "\n".join(script)], parts, folder, environment)
    printed_by = output.split(_MARK)
    number = -1
    for part in parts:
        if part.language in SHELLS:
            number += 1
            printed = printed_by[number]
        else:
            _compare(part, printed)


def _compare(shown: Block, printed: str) -> None:
    """Each shown line is among the printed ones: ``…`` stands for anything, spaces for spaces."""
    for line in filter(str.strip, shown.text.splitlines()):
        parts = [r"[ \t]+".join(map(re.escape, part.split())) for part in line.strip().split("…")]
        assert re.search(".*".join(parts), printed), (
            f"{shown.where}: nobody printed {line!r} but\n{printed}"
        )


def _execute(
    argv: Sequence[str], parts: Sequence[Block], folder: Path, environment: Mapping[str, str]
) -> str:
    """Run a program with everything that it starts; returns what it printed."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=PATIENCE_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        printed = output.read()
    assert code == 0, f"{parts[0].where}: exit {code}\n{printed}"
    return printed


def with_ports(session: Sequence[Block], ports: Mapping[str, int]) -> list[Block]:
    """The session with other ports than those of the page, which somebody may use here."""

    known = re.compile("|".join(map(re.escape, ports)))

    def other(text: str) -> str:
        # In one go: a port that was put in may hold the digits of another one of the page.
        return known.sub(lambda found: str(ports[found[0]]), text)

    return [replace(block, text=other(block.text)) for block in session]


def needs(session: Sequence[Block]) -> set[str]:
    """The programs that a session needs beyond the usual ones; ``root`` for that right."""
    return {name for block in session for name in (block.tag("needs") or "").split(",") if name}
