"""NGINX (open source or Plus, and OpenResty), by the files that its configuration names.

The certificate file holds leaf and intermediates, since NGINX has no directive for the chain. Put
``ssl_certificate <cert_path>;`` and ``ssl_certificate_key <key_path>;`` into the server block. NGINX
reads the files as root when it reloads, so the key needs no right for its workers.

Vendor documents: nginx.org, ngx_http_ssl_module and "Controlling nginx".
"""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from certctl_core.contracts.options import Command, option
from certctl_core.contracts.plugin import hookimpl
from certctl_core.contracts.targets import Bundle, FileTarget, PairConfig, Plan, TargetContext


class NginxConfig(PairConfig):
    """Where the files lie and how NGINX is told."""

    validate_command: Command = option(
        Command("nginx -t"), title="Validate command", group="Commands"
    )
    reload_command: Command = option(
        Command("nginx -s reload"), title="Reload command", group="Commands"
    )


class Nginx(FileTarget):
    """NGINX on the host of the agent."""

    kind = "nginx"
    title = "NGINX"
    api_version = 1
    Config = NginxConfig
    summary = "Certificate and key files of NGINX, validated and reloaded."
    docs_url = "https://nginx.org/en/docs/http/configuring_https_servers.html"
    default_owners = ("nginx", "www-data")
    commands: ClassVar[tuple[Command, ...]] = (
        Command("nginx -t"),
        Command("nginx -s reload"),
        Command("systemctl reload nginx"),
        Command("systemctl reload nginx.service"),
        Command("service nginx reload"),
    )

    def __init__(self, config: NginxConfig, ctx: TargetContext) -> None:
        super().__init__(config, ctx)
        self.config: NginxConfig = config

    @override
    def plan(self, bundle: Bundle) -> Plan:
        c = self.config
        return Plan(
            files=(
                *c.cert(bundle, default=bundle.fullchain),
                *c.chain(bundle),
                *c.key(bundle, mode=0o640),
            ),
            validate=(c.validate_command,),
            reload=(c.reload_command,),
        )


@hookimpl
def certctl_targets() -> list[type[FileTarget]]:
    """Register this kind."""
    return [Nginx]
