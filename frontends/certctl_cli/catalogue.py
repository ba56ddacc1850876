"""``certctl issuers``, ``profiles`` and ``policies``: what may be issued, by whom, when again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from certctl_cli.columns import (
    EXTENSIONS,
    ISSUER,
    ISSUERS,
    POLICIES,
    POLICY,
    PROFILE,
    PROFILES,
    SAMPLE,
)
from certctl_cli.editing import (
    add_configuring,
    add_deleting,
    add_editing,
    end_with,
    read_object,
)
from certctl_cli.lazy import Group
from certctl_cli.lists import list_options, show, show_list
from certctl_cli.options import state

if TYPE_CHECKING:
    from certctl_client.types import ProfilePreview


@click.group(cls=Group, name="issuers")
def issuers() -> None:
    """List, show, create, change and test issuers."""


@issuers.command("list")
@click.option("--kind", metavar="KIND", help="Of this kind.")
@click.option("--health", metavar="HEALTH", help="healthy, degraded, failing or unknown.")
@click.option("--enabled/--disabled", default=None, help="Only those that take orders, or not.")
@list_options
def list_issuers(**options: Any) -> None:
    """List issuers."""
    show_list(state().client().issuers.list, ISSUERS, empty="No issuers match.", **options)


@issuers.command("show")
@click.argument("issuer_id", metavar="ID")
def show_issuer(issuer_id: str) -> None:
    """Show an issuer."""
    show(state().client().issuers.get(issuer_id), ISSUER)


@issuers.command("test")
@click.argument("issuer_id", metavar="ID")
@click.pass_context
def test_issuer(ctx: click.Context, issuer_id: str) -> None:
    """Let the server check that an issuer can be used; exits 1 when it cannot."""
    end_with(ctx, state().client().issuers.test(issuer_id))


@click.group(cls=Group, name="profiles")
def profiles() -> None:
    """List, show, create, change and try certificate profiles."""


@profiles.command("list")
@click.option("--enabled/--disabled", default=None, help="Only those in use, or not.")
@list_options
def list_profiles(**options: Any) -> None:
    """List profiles."""
    show_list(state().client().profiles.list, PROFILES, empty="No profiles match.", **options)


@profiles.command("show")
@click.argument("profile_id", metavar="ID")
def show_profile(profile_id: str) -> None:
    """Show a profile."""
    show(state().client().profiles.get(profile_id), PROFILE)


@profiles.command("preview")
@click.argument("profile_id", metavar="[ID]", required=False)
@click.option(
    "--file", type=click.File("r"), metavar="FILE", help="A profile, JSON in a file (- is stdin)."
)
@click.option("--issuer", "issuer_id", metavar="ID", help="Who would issue.  [default: iss-local]")
@click.option("--name", "names", multiple=True, metavar="NAME", help="A name of the sample.")
@click.option(
    "--subject", metavar="DN", help="Subject of the sample's CSR, such as OU=Web,O=Example,C=DE."
)
@click.option("--key", metavar="ALGORITHM", help="Key of the sample, such as RSA-3072.")
@click.pass_context
def preview_profile(
    ctx: click.Context, /, profile_id: str | None, file: Any, **options: Any
) -> None:
    """Show what would be issued under a profile; exits 1 when nothing would.

    Either the profile of this ID, or one that is not stored yet: FILE holds its members, or what
    'certctl profiles show --json' prints. The sample is signed with a key that is thrown away.
    """
    if (profile_id is None) == (file is None):
        message = "Give the ID of a profile or --file, one of them."
        raise click.UsageError(message)
    client, output = state().client(), state().output
    profile: Any = client.profiles.get(profile_id) if profile_id else read_object(file, "--file")
    options["key_algorithm"] = options.pop("key")
    found = client.profiles.preview(profile, **options)
    if output.is_json:
        output.document(found)
    else:
        _show_preview(found)
    ctx.exit(0 if found["would_issue"] else 1)


def _show_preview(found: ProfilePreview) -> None:
    output = state().output
    output.text("This would be issued." if found["would_issue"] else "Nothing would be issued.")
    for text in found["refusals"]:
        output.text(f"  refused: {text}")
    for item in found["sentences"]:
        if item["text"] not in found["refusals"]:
            output.text(f"  {item['level']}: {item['text']}")
    for finding in found["findings"]:
        output.text(f"  check before issuance, {finding['severity']}: {finding['text']}")
    sample = found["certificate"]
    if sample is not None:
        output.text("")
        output.form(sample, SAMPLE)
        output.text("")
        output.table(sample["extensions"], EXTENSIONS, empty="No extensions.")


@click.group(cls=Group, name="policies")
def policies() -> None:
    """List, show, create and change renewal policies."""


@policies.command("list")
@list_options
def list_policies(**options: Any) -> None:
    """List renewal policies."""
    pages = state().client().renewal_policies.list
    show_list(pages, POLICIES, empty="No renewal policies match.", **options)


@policies.command("show")
@click.argument("policy_id", metavar="ID")
def show_policy(policy_id: str) -> None:
    """Show a renewal policy."""
    show(state().client().renewal_policies.get(policy_id), POLICY)


add_configuring(
    issuers,
    "an issuer",
    configured=lambda client: client.issuers,
    columns=ISSUER,
    kind="local",
    use="take orders",
)
add_deleting(
    issuers, "an issuer", delete=lambda client, object_id: client.issuers.delete(object_id)
)
add_editing(profiles, "a profile", documents=lambda client: client.profiles, columns=PROFILE)
add_editing(
    policies, "a renewal policy", documents=lambda client: client.renewal_policies, columns=POLICY
)
