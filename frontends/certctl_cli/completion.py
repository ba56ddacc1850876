"""``certctl completion``: the completion script for a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from certctl_cli.lazy import Command

_VARIABLE = "_CERTCTL_COMPLETE"


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    For example: certctl completion bash > ~/.local/share/bash-completion/completions/certctl
    """
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click has the three
    root = click.get_current_context().find_root().command
    script = found(root, {}, "certctl", _VARIABLE)
    # Not .source(): for bash that starts a bash of its own to look at its version.
    click.echo(script.source_template % script.source_vars())
