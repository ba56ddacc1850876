"""``certctl agent``: the agent on this host. Its code is found through ``certctl_cli.parts``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from certctl_cli.failures import report
from certctl_cli.lazy import Group
from certctl_cli.options import state
from certctl_cli.parts import load_part
from certctl_cli.values import pairs
from certctl_core.kernel.errors import CertctlError

if TYPE_CHECKING:
    from certctl_core.kernel.secrets import Secret

Function = TypeVar("Function", bound=Callable[..., Any])
_STATE_DIR = Path("/var/lib/certctl-agent")
_MAX_TOKEN = 4096
_PATH = click.Path(path_type=Path)


def _agent_options(function: Function) -> Function:
    """Add what both commands take."""
    for option in (
        click.option(
            "--name", envvar="CERTCTL_AGENT_NAME", help="Its name; that of the host if absent."
        ),
        click.option(
            "--token",
            envvar="CERTCTL_AGENT_ENROLLMENT_TOKEN",
            metavar="TOKEN",
            help="Enrollment token. Others on this machine see a command line: prefer the file.",
        ),
        click.option(
            "--token-file",
            "--enroll-token-file",
            "token_file",
            type=_PATH,
            envvar="CERTCTL_AGENT_ENROLLMENT_TOKEN_FILE",
            metavar="FILE",
            help="File with the enrollment token.",
        ),
        click.option(
            "--state-dir",
            type=_PATH,
            envvar="CERTCTL_STATE_DIR",
            default=_STATE_DIR,
            show_default=True,
            metavar="DIR",
            help="Where the agent keeps its credential, its keys and its reports.",
        ),
    ):
        function = option(function)
    return function


@click.group(cls=Group, name="agent")
def agent() -> None:
    """Enroll and run an agent on this host.

    It makes keys here, gets certificates for them, deploys them and renews them.
    """


@agent.command("enroll")
@_agent_options
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Repeatable.")
def enroll(
    state_dir: Path,
    token: str | None,
    token_file: Path | None,
    name: str | None,
    labels: tuple[str, ...],
) -> int:
    """Enroll this host at a server, with a token of 'certctl agents token create'."""
    secret = _token(token, token_file)
    if secret is None:
        message = "Give the enrollment token: --token-file or --token."
        raise click.UsageError(message, click.get_current_context())
    settings, output = state().settings(), state().output

    def act() -> int:
        identity = load_part("agent_enroll")(
            server_url=settings.url,
            token=secret,
            state_dir=state_dir,
            ca_bundle=settings.ca_path,
            name=name,
            labels=pairs(labels, "--label"),
        )
        if output.is_json:
            output.document(
                {"id": identity.agent_id, "name": identity.name, "state_dir": str(state_dir)}
            )
        else:
            output.text(f"Enrolled as {identity.name} ({identity.agent_id}).")
            output.note(f"'certctl agent run --state-dir {state_dir}' runs it.")
        return 0

    return _judged(act)


@agent.command("run")
@_agent_options
@click.option(
    "--api-key-file",
    type=_PATH,
    envvar="CERTCTL_AGENT_API_KEY_FILE",
    metavar="FILE",
    help="Its credential; 'credential' in the state directory if absent.",
)
@click.option(
    "--key-dir",
    type=_PATH,
    envvar="CERTCTL_KEY_DIR",
    metavar="DIR",
    help="Private keys; 'keys' in the state directory if absent.",
)
@click.option(
    "--policy-file",
    type=_PATH,
    envvar="CERTCTL_AGENT_POLICY_FILE",
    default=Path("/etc/certctl/agent-policy.toml"),
    show_default=True,
    metavar="FILE",
    help="What the host allows.",
)
@click.option(
    "--poll-interval",
    type=click.FloatRange(min=0.05),
    metavar="SECONDS",
    help="Between looks for work; as the server says if absent.",
)
@click.option(
    "--heartbeat-interval",
    type=click.FloatRange(min=0.05),
    metavar="SECONDS",
    help="Between signs of life; as the server says if absent.",
)
@click.option(
    "--max-jobs", type=click.IntRange(1, 64), default=4, show_default=True, help="At once."
)
@click.option(
    "--disable-plugin", "plugins_disabled", multiple=True, metavar="NAME", help="Repeatable."
)
@click.option(
    "--log-level",
    type=click.Choice(("debug", "info", "warn", "error")),
    envvar="CERTCTL_LOG_LEVEL",
    default="info",
    show_default=True,
    help="From which level on it logs, on stdout.",
)
@click.option(
    "--log-format",
    type=click.Choice(("json", "text")),
    envvar="CERTCTL_LOG_FORMAT",
    default="json",
    show_default=True,
    help="How its log looks.",
)
def run(token: str | None, token_file: Path | None, **options: Any) -> int:
    """Run the agent until SIGTERM, or until the server retires it.

    With a token it enrolls itself first, if it is not enrolled yet.
    """
    found = state()
    said = {**found.environment, **found.given}
    bundle = said.get("ca_bundle")
    return _judged(
        lambda: load_part("agent_run")(
            server_url=said.get("server"),
            ca_bundle=Path(bundle) if bundle else None,
            enrollment_token=_secret(_token(token, token_file)),
            **options,
        )
    )


def _judged(act: Callable[[], int]) -> int:
    """Run something of the agent; its own rule says which failures are the caller's (exit 2)."""
    found = state()
    judge = load_part("agent_exit_status")
    try:
        return act()
    except CertctlError as error:
        report(error, is_json=found.is_json, is_verbose=found.is_verbose)
        return int(judge(error))


def _secret(text: str | None) -> Secret | None:
    if text is None:
        return None
    from certctl_core.kernel.secrets import Secret

    return Secret(text)


def _token(token: str | None, path: Path | None) -> str | None:
    if token is not None or path is None:
        return token
    try:
        with path.open(encoding="ascii") as file:
            return file.read(_MAX_TOKEN).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not plain text"
        message = f"The token file {path} cannot be read: {reason}."
        raise click.UsageError(message, click.get_current_context()) from error
