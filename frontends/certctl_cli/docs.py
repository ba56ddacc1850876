"""The reference of the command line as Markdown, made from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

from certctl_cli.failures import EXIT_HELP
from certctl_cli.options import State, global_options
from certctl_cli.root import COMMANDS, root

_WIDTH = 100
_ROOT_HELP = '''"""What ``certctl --help`` prints: ready made, so that it appears at once.

Made by ``python -m certctl_cli.docs``; a test compares the two.
"""

from __future__ import annotations

TEXT = """\\
{text}"""
'''


def cli_markdown() -> str:
    """Every command with its usage, arguments and options; the body of docs/reference/cli.md."""
    lines = ["## Global options", "", *_options(global_options(is_root=True)), ""]
    lines += ["## Exit codes", "", "| Code | Meaning |", "|---|---|"]
    lines += [f"| {int(code)} | {text} |" for code, text in EXIT_HELP.items()]
    section = ""
    for name, entry in COMMANDS.items():
        if entry.section != section:
            section = entry.section
            lines += ["", f"## {section}"]
        context = _root_context()
        command = root.get_command(context, name)
        assert command is not None  # noqa: S101 - it stands in the table
        for path, found in _walk(f"certctl {name}", command):
            lines += ["", *_command(path, found)]
    return "\n".join(lines) + "\n"


def root_help() -> str:
    """What ``certctl --help`` prints, at a width that every terminal has."""
    context = _root_context(terminal_width=80)
    return root.get_help(context).rstrip("\n") + "\n"


def _root_context(terminal_width: int = _WIDTH) -> click.Context:
    context = click.Context(
        root, info_name="certctl", obj=State(), terminal_width=terminal_width, max_content_width=80
    )
    context.help_option_names = ["-h", "--help"]
    return context


def _walk(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, below in sorted(command.commands.items()):
            yield from _walk(f"{path} {name}", below)


def _command(path: str, command: click.Command) -> list[str]:
    context = click.Context(command, info_name=path, obj=State(), max_content_width=_WIDTH)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"### {path}", "", *cleandoc(command.help or "").splitlines(), ""]
    lines += ["```text", f"{path} {usage}", "```"]
    options = [
        param for param in command.params if isinstance(param, click.Option) and not param.hidden
    ]
    if options:
        lines += ["", *_options(options)]
    return lines


def _options(options: list[click.Option]) -> list[str]:
    lines = ["| Option | Meaning |", "|---|---|"]
    for option in options:
        context = click.Context(click.Command("certctl"), obj=State())
        record = option.get_help_record(context)
        if record is not None:
            name, text = (part.replace("|", "\\|") for part in record)
            lines.append(f"| `{name}` | {text} |")
    return lines


def _write_root_help() -> None:
    """Bring ``root_help.py`` up to date: python -m certctl_cli.docs."""
    text = root_help().replace("\\", "\\\\")
    source = _ROOT_HELP.format(text=text)
    Path(__file__).with_name("root_help.py").write_text(source, encoding="utf-8")


if __name__ == "__main__":
    _write_root_help()
