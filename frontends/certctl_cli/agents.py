"""``certctl agents``: the programs on other hosts, seen from the server."""

from __future__ import annotations

from typing import Any

import click

from certctl_cli.columns import AGENT, AGENTS, TOKENS
from certctl_cli.lazy import Group
from certctl_cli.lists import confirm, list_options, pages_of, show, show_list, yes_option
from certctl_cli.options import state
from certctl_cli.values import Duration, pairs
from certctl_cli.words import Words


@click.group(cls=Group, name="agents")
def agents() -> None:
    """List, show and retire agents; make enrollment tokens.

    The agent itself is run with 'certctl agent'.
    """


@agents.command("list")
@click.option(
    "--status",
    type=Words(("Online", "Offline", "Degraded")),
    help="In this state.",
)
@click.option("--os", "os", metavar="NAME", help="On this operating system.")
@click.option("--label", metavar="KEY=VALUE", help="With this label.")
@click.option("--retired", "is_retired", is_flag=True, help="Only those that are retired.")
@list_options
def list_agents(*, is_retired: bool, **options: Any) -> None:
    """List agents."""
    client = state().client()

    pages = pages_of(client, "agents.list_retired") if is_retired else client.agents.list
    empty = "No agents match. 'certctl agents token create LABEL' lets one enroll."
    show_list(pages, AGENTS, empty=empty, **options)


@agents.command("show")
@click.argument("agent_id", metavar="ID")
def show_agent(agent_id: str) -> None:
    """Show an agent."""
    show(state().client().agents.get(agent_id), AGENT)


@agents.command("retire")
@click.argument("agent_id", metavar="ID")
@click.option("--force", is_flag=True, help="Retire its targets and cancel its jobs, too.")
@click.option("--reason", default="", metavar="TEXT", help="Why; needed with --force.")
@yes_option
def retire(agent_id: str, *, force: bool, reason: str, is_sure: bool) -> None:
    """Retire an agent: its credential ends at once."""
    output = state().output
    confirm(f"Retire {agent_id}? Its credential ends.", is_sure=is_sure)
    answer = state().client().agents.retire(agent_id, force=force, reason=reason)
    if output.is_json:
        output.document(answer or {"already_retired": True})
    elif answer is None:
        output.text(f"{agent_id} was retired before.")
    else:
        counts = ", ".join(f"{name} {value}" for name, value in answer["counts"].items())
        output.text(f"Retired {agent_id} (before: {counts}).")


@agents.group("token")
def token() -> None:
    """Make, list and revoke enrollment tokens."""


@token.command("create")
@click.argument("label")
@click.option(
    "--expires-in",
    type=Duration(),
    default="24h",
    show_default=True,
    help="Its life: 45m, 24h, 7d.",
)
@click.option(
    "--uses",
    "max_uses",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="How many agents may enroll with it.",
)
@click.option(
    "--agent-label", "labels", multiple=True, metavar="KEY=VALUE", help="Given to those agents."
)
@click.option("--name-pattern", metavar="PATTERN", help="Agents must be named so, as web-*.")
def create_token(
    label: str, expires_in: int, max_uses: int, labels: tuple[str, ...], name_pattern: str | None
) -> None:
    """Make an enrollment token; its value is shown once."""
    output = state().output
    answer = (
        state()
        .client()
        .enrollment_tokens.create(
            label,
            expires_in_seconds=expires_in,
            max_uses=max_uses,
            agent_labels=pairs(labels, "--agent-label"),
            name_pattern=name_pattern,
        )
    )
    if output.is_json:
        output.document(answer)
        return
    output.note(
        f"The token {answer['id']} works until {answer['expires_at']}. It is not shown again:"
    )
    output.text(answer["token"])


@token.command("list")
@click.option("--ended", "include_ended", is_flag=True, help="Expired and used up ones, too.")
@list_options
def list_tokens(**options: Any) -> None:
    """List enrollment tokens."""
    pages = state().client().enrollment_tokens.list
    show_list(pages, TOKENS, empty="No enrollment tokens.", **options)


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@yes_option
def revoke_token(token_id: str, *, is_sure: bool) -> None:
    """Revoke an enrollment token; agents that used it stay."""
    output = state().output
    confirm(f"Revoke {token_id}?", is_sure=is_sure)
    state().client().enrollment_tokens.revoke(token_id)
    if output.is_json:
        output.document({"status": "revoked", "token_id": token_id})
    else:
        output.text(f"Revoked {token_id}.")
