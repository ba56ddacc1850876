"""The command ``certctl`` itself: its commands by name, its options, its help."""

from __future__ import annotations

from typing import Any

import click

from certctl_cli.lazy import Entry, LazyGroup
from certctl_cli.options import global_options
from certctl_cli.overriding import override

_ISSUING, _FLEET, _PEOPLE, _SERVER, _MORE = (
    "Certificates",
    "Servers and agents",
    "People and records",
    "Running it",
    "More",
)

COMMANDS: dict[str, Entry] = {
    "issue": Entry(
        place="certctl_cli.issue:issue",
        help="Make a key and get a certificate for it.",
        section=_ISSUING,
    ),
    "certificates": Entry(
        place="certctl_cli.certificates:certificates",
        help="List, show, renew, revoke and download certificates.",
        section=_ISSUING,
    ),
    "issuers": Entry(
        place="certctl_cli.catalogue:issuers",
        help="List, show, create, change and test issuers.",
        section=_ISSUING,
    ),
    "profiles": Entry(
        place="certctl_cli.catalogue:profiles",
        help="List, show, create, change and try certificate profiles.",
        section=_ISSUING,
    ),
    "policies": Entry(
        place="certctl_cli.catalogue:policies",
        help="List, show, create and change renewal policies.",
        section=_ISSUING,
    ),
    "trust": Entry(
        place="certctl_cli.trust:trust",
        help="Show and reload the trust bundles.",
        section=_SERVER,
    ),
    "blocked-keys": Entry(
        place="certctl_cli.blocked_keys:blocked_keys",
        help="List, block and unblock public keys, or lists of weak ones.",
        section=_ISSUING,
    ),
    "ca": Entry(
        place="certctl_cli.ca:ca",
        help="CA keys and trees of CAs: list, rotate, create, retire, revoke.",
        section=_ISSUING,
    ),
    "crl": Entry(
        place="certctl_cli.system:crl",
        help="Check, show and regenerate the revocation lists.",
        section=_ISSUING,
    ),
    "ocsp": Entry(
        place="certctl_cli.ocsp:ocsp",
        help="Check OCSP, rotate its responders, purge answers.",
        section=_ISSUING,
    ),
    "agents": Entry(
        place="certctl_cli.agents:agents",
        help="List, show and retire agents; make enrollment tokens.",
        section=_FLEET,
    ),
    "targets": Entry(
        place="certctl_cli.targets:targets",
        help="List, show, create, link and test targets.",
        section=_FLEET,
    ),
    "jobs": Entry(
        place="certctl_cli.jobs:jobs",
        help="List, show, cancel and retry jobs.",
        section=_FLEET,
    ),
    "notifiers": Entry(
        place="certctl_cli.notifiers:notifiers",
        help="List, show, create, change and test notifiers.",
        section=_PEOPLE,
    ),
    "notification-routes": Entry(
        place="certctl_cli.notifiers:routes",
        help="List, show, create and change the routes of notifications.",
        section=_PEOPLE,
    ),
    "keys": Entry(
        place="certctl_cli.keys:keys",
        help="List, create, rotate and revoke API keys.",
        section=_PEOPLE,
    ),
    "me": Entry(
        place="certctl_cli.system:me",
        help="Show who you are and what you may do.",
        section=_PEOPLE,
    ),
    "audit": Entry(
        place="certctl_cli.audit:audit",
        help="List the audit log and verify it.",
        section=_PEOPLE,
    ),
    "serve": Entry(
        place="certctl_cli.server:serve",
        help="Run the control plane.",
        section=_SERVER,
    ),
    "worker": Entry(
        place="certctl_cli.server:worker",
        help="Run its background part alone.",
        section=_SERVER,
    ),
    "agent": Entry(
        place="certctl_cli.agent:agent",
        help="Enroll and run an agent on this host.",
        section=_SERVER,
    ),
    "config": Entry(
        place="certctl_cli.server:config",
        help="Check and explain the settings.",
        section=_SERVER,
    ),
    "db": Entry(
        place="certctl_cli.server:db",
        help="Upgrade and check the database schema.",
        section=_SERVER,
    ),
    "doctor": Entry(
        place="certctl_cli.dr:doctor",
        help="Look whether a disaster could be survived.",
        section=_SERVER,
    ),
    "dr": Entry(
        place="certctl_cli.dr:dr",
        help="Rehearse a restore; bring back what a backup lacks.",
        section=_SERVER,
    ),
    "admin": Entry(
        place="certctl_cli.server:admin",
        help="Make API keys without a server.",
        section=_SERVER,
    ),
    "healthcheck": Entry(
        place="certctl_cli.server:healthcheck",
        help="Exit 0 when the server on this host is healthy.",
        section=_SERVER,
    ),
    "status": Entry(
        place="certctl_cli.system:status",
        help="Show whether the server is ready, and its numbers.",
        section=_MORE,
    ),
    "plugins": Entry(
        place="certctl_cli.system:plugins",
        help="Show which plugins are installed.",
        section=_MORE,
    ),
    "signers": Entry(
        place="certctl_cli.signers:signers",
        help="Show where private keys are kept.",
        section=_MORE,
    ),
    "api": Entry(
        place="certctl_cli.api:api",
        help="Call any operation of the REST API.",
        section=_MORE,
    ),
    "version": Entry(
        place="certctl_cli.system:version",
        help="Show the release of this program and of the server.",
        section=_MORE,
    ),
    "completion": Entry(
        place="certctl_cli.completion:completion",
        help="Print the completion script for a shell.",
        section=_MORE,
    ),
}


class Root(LazyGroup):
    """The command itself, with its exit codes in its help."""

    @override
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The exit codes."""
        del ctx
        from certctl_cli.failures import EXIT_HELP

        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), text) for code, text in EXIT_HELP.items()])
        formatter.write_paragraph()
        formatter.write_text(
            "The commands under 'Running it' have codes of their own: see docs/reference/exit-codes.md."
        )


def _print_version(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
    if value and not ctx.resilient_parsing:
        from certctl_core.kernel.release import described

        click.echo(f"certctl {described()}")
        ctx.exit()


root = Root(
    "certctl",
    table=COMMANDS,
    params=[
        *global_options(is_root=True),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Show the release and exit.",
        ),
    ],
    help=(
        "Order, renew, deploy, watch and revoke X.509 certificates.\n\n"
        "The options below may stand before or after a command. 'certctl serve' writes a client.toml "
        "that --data-dir reads: address, key and CA in one."
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
