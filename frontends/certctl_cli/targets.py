"""``certctl targets``: where certificates are deployed."""

from __future__ import annotations

from typing import Any

import click

from certctl_cli.columns import DEPLOYMENTS, LINKED, TARGET, TARGETS
from certctl_cli.lazy import Group
from certctl_cli.lists import confirm, list_options, pages_of, show, show_list, yes_option
from certctl_cli.lookup import certificate_id
from certctl_cli.options import state
from certctl_cli.values import configuration, configuration_options
from certctl_cli.waiting import wait_for_jobs, wait_options


@click.group(cls=Group, name="targets")
def targets() -> None:
    """List, show, create, link and test targets."""


@targets.command("list")
@click.option("--kind", metavar="KIND", help="Of this kind.")
@click.option("--agent", "agent_id", metavar="ID", help="Of this agent.")
@click.option("--certificate", metavar="CERTIFICATE", help="Only those it is deployed to.")
@click.option("--enabled/--disabled", default=None, help="Only those that get deployments, or not.")
@click.option("--retired", "include_retired", is_flag=True, help="Retired ones, too.")
@list_options
def list_targets(*, certificate: str | None, **options: Any) -> None:
    """List targets."""
    client = state().client()
    if certificate is None:
        show_list(client.targets.list, TARGETS, empty="No targets match.", **options)
        return
    given = [name for name in ("kind", "agent_id", "enabled", "q") if options[name] is not None]
    if given or options["include_retired"]:
        message = "--certificate takes no other filter."
        raise click.UsageError(message)
    key = certificate_id(client, certificate)
    paging = {name: options[name] for name in ("limit", "is_all", "cursor", "sort")}

    linked = pages_of(client, "certificates.targets", certificate_id=key)
    show_list(linked, LINKED, empty="It is deployed nowhere.", **paging)


@targets.command("show")
@click.argument("target_id", metavar="ID")
def show_target(target_id: str) -> None:
    """Show a target."""
    show(state().client().targets.get(target_id), TARGET)


@targets.command("create")
@click.argument("name")
@click.option("--kind", required=True, metavar="KIND", help="An installed kind, as nginx.")
@click.option("--agent", "agent_id", required=True, metavar="ID", help="The agent that drives it.")
@configuration_options
@click.option("--disabled", is_flag=True, help="It gets no deployments yet.")
def create(
    name: str,
    kind: str,
    agent_id: str,
    config_file: Any,
    settings: tuple[str, ...],
    *,
    disabled: bool,
) -> None:
    """Create a target."""
    target = (
        state()
        .client()
        .targets.create(
            name,
            kind=kind,
            agent_id=agent_id,
            config=configuration(config_file, settings),
            enabled=not disabled,
        )
    )
    show(target, TARGET)


@targets.command("deployments")
@click.argument("target_id", metavar="ID")
@list_options
def list_deployments(target_id: str, **options: Any) -> None:
    """List the attempts to deploy to a target, newest first."""
    pages = pages_of(state().client(), "targets.deployments", target_id=target_id)
    show_list(pages, DEPLOYMENTS, empty="Nothing was deployed there.", **options)


@targets.command("link")
@click.argument("certificate")
@click.argument("target_id", metavar="TARGET")
@click.option("--manual", is_flag=True, help="Deploy only when told, not each new version.")
def link(certificate: str, target_id: str, *, manual: bool) -> None:
    """Deploy a certificate to a target from now on."""
    client, output = state().client(), state().output
    key = certificate_id(client, certificate)
    client.targets.link(key, target_id, auto_deploy=not manual)
    if output.is_json:
        output.document({"status": "linked", "certificate_id": key, "target_id": target_id})
    else:
        output.text(f"{certificate} is deployed to {target_id} from now on.")


@targets.command("unlink")
@click.argument("certificate")
@click.argument("target_id", metavar="TARGET")
@yes_option
def unlink(certificate: str, target_id: str, *, is_sure: bool) -> None:
    """Deploy a certificate to a target no longer; what lies there stays."""
    client, output = state().client(), state().output
    key = certificate_id(client, certificate)
    confirm(f"Stop deploying {certificate} to {target_id}?", is_sure=is_sure)
    client.targets.unlink(key, target_id)
    if output.is_json:
        output.document({"status": "unlinked", "certificate_id": key, "target_id": target_id})
    else:
        output.text(f"{certificate} is not deployed to {target_id} any more.")


@targets.command("test")
@click.argument("target_id", metavar="ID")
@wait_options
def test_target(target_id: str, *, is_waiting: bool, wait_timeout: float) -> None:
    """Let the agent check that deployments to a target would work."""
    client, output = state().client(), state().output
    answer = client.targets.test(target_id)
    if is_waiting:
        wait_for_jobs(client, output, [answer["job_id"]], seconds=wait_timeout)
        show(client.targets.get(target_id), TARGET)
    elif output.is_json:
        output.document(answer)
    else:
        output.text(f"The test goes on in {answer['job_id']}.")
