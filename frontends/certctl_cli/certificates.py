"""``certctl certificates``: everything about certificates that exist."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from certctl_cli.columns import (
    BULK_FAILURES,
    CERTIFICATE,
    CERTIFICATES,
    DEPLOYMENTS,
    ISSUED,
    VERSIONS,
)
from certctl_cli.lazy import Group
from certctl_cli.lists import confirm, list_options, pages_of, show, show_list, yes_option
from certctl_cli.lookup import certificate_id
from certctl_cli.options import state
from certctl_cli.reasons import REASONS
from certctl_cli.waiting import wait_for_jobs, wait_options
from certctl_cli.words import Words

if TYPE_CHECKING:
    from certctl_client.types import BulkRevocation, SameKey

STATUSES = (
    "Pending",
    "Active",
    "Expiring",
    "Expired",
    "RenewalInProgress",
    "Failed",
    "Revoked",
    "Archived",
)
SOURCES = ("API", "Agent", "ACME", "EST", "SCEP", "Discovery", "Import")


@click.group(cls=Group, name="certificates")
def certificates() -> None:
    """List, show, renew, revoke and download certificates.

    CERTIFICATE is the id of a managed certificate or its name.
    """


@certificates.command("list")
@click.option("--status", type=Words(STATUSES), help="In this state.")
@click.option("--env", "environment", metavar="NAME", help="Of this environment.")
@click.option("--issuer", "issuer_id", metavar="ID", help="From this issuer.")
@click.option("--ca-key", "ca_key_id", metavar="KEY", help="Signed by this CA key, in use.")
@click.option("--key", "spki_sha256", metavar="SHA256", help="Valid with this public key.")
@click.option("--profile", "profile_id", metavar="ID", help="Under this profile.")
@click.option("--source", type=Words(SOURCES), help="Made this way.")
@click.option("--tag", metavar="KEY=VALUE", help="With this tag.")
@click.option("--expires-before", metavar="TIME", help="RFC 3339, as 2030-01-31T00:00:00Z.")
@click.option("--expires-after", metavar="TIME", help="RFC 3339.")
@click.option("--archived", "include_archived", is_flag=True, help="Archived ones, too.")
@list_options
def list_certificates(**options: Any) -> None:
    """List certificates."""
    show_list(
        state().client().certificates.list,
        CERTIFICATES,
        empty="No certificates match. 'certctl issue' makes the first one.",
        **options,
    )


@certificates.command("show")
@click.argument("certificate")
def show_certificate(certificate: str) -> None:
    """Show a certificate and its current version."""
    client = state().client()
    row = client.certificates.get(certificate_id(client, certificate))
    if state().is_json:
        show(row, ())
        return
    versions = client.certificates.versions(row["id"]).data if row["current_version_id"] else []
    current = next((item for item in versions if item["is_current"]), None)
    held = any(target["enabled"] for target in client.targets.of_certificate(row["id"]).data)
    planned = row["next_renewal_at"] if held else None  # nobody can keep to it
    shown = {"current": current, "is_held": held, "next_renewal_at": planned}
    show({**row, **shown}, CERTIFICATE)


@certificates.command("versions")
@click.argument("certificate")
@list_options
def list_versions(certificate: str, **options: Any) -> None:
    """List what was issued for a certificate, newest first."""
    client = state().client()
    key = certificate_id(client, certificate)

    pages = pages_of(client, "certificates.versions", certificate_id=key)
    show_list(pages, VERSIONS, empty="Nothing has been issued yet.", **options)


@certificates.command("renew")
@click.argument("certificate")
@click.option("--csr", type=click.File("r"), help="Issue at once from this request (- is stdin).")
@click.option("--force", is_flag=True, help="Replace a renewal that is under way.")
@wait_options
def renew(
    certificate: str, csr: Any, *, force: bool, is_waiting: bool, wait_timeout: float
) -> None:
    """Renew a certificate.

    Without a CSR the agents that hold the key make one each, and the renewal goes on in jobs. Where
    you hold the key yourself, give a CSR, or use 'certctl issue NAME --renew'.
    """
    client, output = state().client(), state().output
    answer = client.certificates.renew(
        certificate_id(client, certificate), csr_pem=csr.read() if csr else None, force=force
    )
    if is_waiting and answer["job_ids"]:
        jobs = wait_for_jobs(client, output, answer["job_ids"], seconds=wait_timeout)
        if output.is_json:
            output.document({**answer, "jobs": jobs})
        else:
            output.text(f"Renewed: {', '.join(answer['job_ids'])} completed.")
        return
    if output.is_json:
        output.document(answer)
    elif answer["issued"] is not None:
        output.form(answer["issued"], ISSUED)
        output.note("'certctl certificates download' writes its files.")
    else:
        output.text(f"Renewal goes on in {', '.join(answer['job_ids'])}.")


@certificates.command("revoke")
@click.argument("certificate")
@click.option(
    "--reason",
    required=True,
    type=Words(REASONS),
    help="Why (RFC 5280 CRLReason).",
)
@click.option(
    "--scope",
    type=click.Choice(("current", "all_unexpired")),
    help="Only the current version, or every one that has not expired.",
)
@click.option("--serial", metavar="HEX", help="Only the version with this serial number.")
@click.option("--invalidity-date", metavar="TIME", help="RFC 3339: unusable since then.")
@yes_option
def revoke(certificate: str, *, is_sure: bool, reason: str, **options: Any) -> None:
    """Revoke a certificate: CRL and OCSP say so from now on.

    One on hold is revoked for good by any other reason; the date stays when the hold began.
    """
    client, output = state().client(), state().output
    key = certificate_id(client, certificate)
    confirm(f"Revoke {certificate} ({reason}) for good?", is_sure=is_sure)
    answer = client.certificates.revoke(key, reason=reason, **options)
    if output.is_json:
        output.document(answer)
    else:
        serials = ", ".join(answer["serials"])
        output.text(f"Revoked {certificate}: {serials} ({answer['reason']}).")
    for item in answer["same_key"]:
        _warn_of_key(item)


def _warn_of_key(found: SameKey) -> None:
    """Name what is still valid with a key that was just said to be compromised."""
    named = found["certificate_ids"]
    hidden = found["total"] - len(named)
    beyond = f" and {hidden} that you may not revoke" if hidden else ""
    state().output.note(
        f"{found['total']} certificate(s) are still valid with this key: "
        f"{', '.join(named) or 'none that you may revoke'}{beyond}.\n"
        f"Revoke them too: certctl certificates bulk-revoke --key {found['spki_sha256']} "
        "--reason keyCompromise"
    )


@certificates.command("bulk-revoke")
@click.option(
    "--reason",
    required=True,
    type=Words(REASONS),
    help="Why (RFC 5280 CRLReason).",
)
@click.option("--profile", "profile_id", metavar="ID", help="Under this profile.")
@click.option("--issuer", "issuer_id", metavar="ID", help="From this issuer.")
@click.option("--agent", "agent_id", metavar="ID", help="With a key in use on this agent.")
@click.option("--ca-key", "ca_key_id", metavar="KEY", help="Signed by this CA key, in use.")
@click.option("--key", "spki_sha256", metavar="SHA256", help="Valid with this public key.")
@click.option("--source", type=Words(SOURCES), help="Made this way.")
@click.option("--id", "certificate_ids", multiple=True, metavar="ID", help="Among these.")
@click.option("--expect", "expected_count", type=int, help="Refuse if another number matches.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@yes_option
@click.pass_context
def bulk_revoke(
    ctx: click.Context,
    /,
    *,
    is_sure: bool,
    reason: str,
    certificate_ids: tuple[str, ...],
    expected_count: int | None,
    dry_run: bool,
    **options: Any,
) -> None:
    """Revoke every certificate that has all of this in common; exits 1 when some could not be.

    It may be repeated: what is revoked already is skipped.
    """
    client, output = state().client(), state().output
    criteria = {name: value for name, value in options.items() if value is not None}
    if certificate_ids:
        criteria["certificate_ids"] = list(certificate_ids)
    call = client.certificates.bulk_revoke
    preview = call(reason=reason, criteria=criteria, dry_run=True, expected_count=expected_count)
    answer = preview
    if not dry_run:
        confirm(
            f"Revoke {preview['to_revoke']} certificate(s) ({reason}) for good?", is_sure=is_sure
        )
        answer = call(reason=reason, criteria=criteria, expected_count=preview["total_matched"])
    if output.is_json:
        output.document(answer)
    else:
        output.text(_told(answer))
        if answer["errors"]:
            output.table(answer["errors"], BULK_FAILURES, empty="")
    ctx.exit(1 if answer["total_failed"] else 0)


def _told(answer: BulkRevocation) -> str:
    skipped = f"{answer['total_skipped']} revoked or archived before"
    if answer["dry_run"]:
        return f"{answer['total_matched']} match: {answer['to_revoke']} to revoke, {skipped}."
    if answer["job_id"]:
        return f"The job {answer['job_id']} revokes {answer['to_revoke']} certificate(s)."
    failed = f", {answer['total_failed']} could not be revoked" if answer["total_failed"] else ""
    return f"Revoked {answer['total_revoked']} certificate(s); {skipped}{failed}."


@certificates.command("unhold")
@click.argument("certificate")
def unhold(certificate: str) -> None:
    """Release a certificate that was revoked with certificateHold.

    'certctl certificates revoke' with another reason makes the hold final instead.
    """
    client, output = state().client(), state().output
    answer = client.certificates.unhold(certificate_id(client, certificate))
    if output.is_json:
        output.document(answer)
    else:
        output.text(f"Released {certificate}: {', '.join(answer['serials'])}.")


@certificates.command("download")
@click.argument("certificate")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("-"),
    help="A directory for cert.pem, chain.pem and fullchain.pem, or a file for all; - is stdout.",
)
@click.option("--version", "version_id", metavar="ID", help="An older version.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
def download(certificate: str, *, out: Path, version_id: str | None, force: bool) -> None:
    """Download a certificate with its chain (PEM)."""
    from certctl_cli.files import write_all

    client, output = state().client(), state().output
    answer = client.certificates.download(
        certificate_id(client, certificate), version_id=version_id
    )
    if str(out) == "-":
        if output.is_json:
            output.document(answer)
        else:
            click.echo(answer["full_pem"], nl=False)
        return
    if out.is_dir() or str(out).endswith("/") or not out.suffix:
        contents = {
            out / "cert.pem": answer["cert_pem"],
            out / "chain.pem": answer["chain_pem"],
            out / "fullchain.pem": answer["full_pem"],
        }
    else:
        contents = {out: answer["full_pem"]}
    write_all(contents, is_replacing=force)
    if output.is_json:
        output.document({"files": [str(path) for path in contents]})
    else:
        output.text(f"Wrote {', '.join(str(path) for path in contents)}.")


@certificates.command("deploy")
@click.argument("certificate")
@click.option("--target", "target_id", metavar="ID", help="Only to this target.")
@click.option("--force", is_flag=True, help="Also where the target has it already.")
@wait_options
def deploy(
    certificate: str, target_id: str | None, *, force: bool, is_waiting: bool, wait_timeout: float
) -> None:
    """Deploy the current version to the targets that it is linked to."""
    client, output = state().client(), state().output
    key = certificate_id(client, certificate)
    answer = client.certificates.deploy(key, target_id=target_id, force=force)
    jobs = None
    if is_waiting:
        jobs = wait_for_jobs(client, output, answer["job_ids"], seconds=wait_timeout)
    if output.is_json:
        output.document(answer if jobs is None else {**answer, "jobs": jobs})
    else:
        verb = "goes on in" if jobs is None else "completed:"
        output.text(f"Deployment {verb} {', '.join(answer['job_ids']) or 'no job'}.")


@certificates.command("deployments")
@click.argument("certificate")
@list_options
def list_deployments(certificate: str, **options: Any) -> None:
    """List the attempts to deploy a certificate, newest first."""
    client = state().client()
    key = certificate_id(client, certificate)
    pages = pages_of(client, "certificates.deployments", certificate_id=key)
    show_list(pages, DEPLOYMENTS, empty="It was never deployed.", **options)


@certificates.command("archive")
@click.argument("certificate")
@yes_option
def archive(certificate: str, *, is_sure: bool) -> None:
    """Archive a certificate: it leaves the lists, its history stays."""
    client, output = state().client(), state().output
    key = certificate_id(client, certificate)
    confirm(f"Archive {certificate}? It will not be renewed any more.", is_sure=is_sure)
    client.certificates.archive(key)
    if output.is_json:
        output.document({"status": "archived", "certificate_id": key})
    else:
        output.text(f"Archived {certificate}.")
