"""The global options, taken at any place of the command line, and what they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

if TYPE_CHECKING:
    from certctl_client import Client, ClientSettings

    from certctl_cli.output import Output

DEFAULT_TIMEOUT = 30.0


@dataclass(slots=True)
class State:
    """What the global options say; ``ctx.obj`` of every command.

    Attributes:
        given: Options of the command line by name.
        environment: Values of the environment by the same names.
    """

    given: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    _client: Client | None = None
    _output: Output | None = None

    @property
    def is_json(self) -> bool:
        """Whether the answer is to be JSON."""
        return bool(self.given.get("json"))

    @property
    def is_verbose(self) -> bool:
        """Whether failures come with their trace."""
        return bool(self.given.get("verbose"))

    @property
    def data_dir(self) -> Path | None:
        """The data directory of an installation on this machine, if one was named."""
        found = self.given.get("data_dir") or self.environment.get("data_dir")
        return Path(found) if found else None

    @property
    def timeout_seconds(self) -> float:
        """How long one request may take."""
        return float(self.given.get("timeout") or DEFAULT_TIMEOUT)

    @property
    def output(self) -> Output:
        """Where answers go."""
        if self._output is None:
            from certctl_cli.output import Output

            self._output = Output(is_json=self.is_json)
        return self._output

    def settings(self) -> ClientSettings:
        """The server and the credential.

        The command line beats the environment, single values beat ``client.toml``. Key and CA of a
        ``client.toml`` go only to the server that it names.

        Raises:
            ClientFileUnusable: The named data directory has no readable ``client.toml``.
            click.UsageError: The API key file cannot be read.
        """
        from certctl_cli.connection import resolve

        return resolve(self.given, self.environment)

    def client(self) -> Client:
        """The connection, opened once a command; ``run`` closes it.

        Raises:
            CertctlError: As for ``settings``; the address or the CA file is not usable.
        """
        if self._client is None:
            from certctl_client import Client

            from certctl_core.kernel.release import VERSION

            settings = self.settings()
            self._client = Client(
                settings.url,
                api_key=settings.api_key,
                ca_path=settings.ca_path,
                timeout_seconds=self.timeout_seconds,
                user_agent=f"certctl-cli/{VERSION}",
            )
        return self._client

    def close(self) -> None:
        """Close the connection if there is one."""
        if self._client is not None:
            self._client.close()


def state() -> State:
    """The state of the command that runs."""
    return cast("State", click.get_current_context().find_root().obj)


def with_globals(params: Sequence[click.Parameter]) -> list[click.Parameter]:
    """``params`` and, unseen in the help, every global option whose name is still free."""
    taken = {name for param in params for name in param.opts}
    hidden = [option for option in global_options(is_root=False) if option.opts[0] not in taken]
    return [*params, *hidden]


def global_options(*, is_root: bool) -> list[click.Option]:
    """Fresh global options; only the root's look into the environment and show in the help."""

    def keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if value is None or value is False:
            return
        found = cast("State", ctx.find_root().obj)
        origin = ctx.get_parameter_source(param.name) if param.name else None
        is_environment = origin is click.core.ParameterSource.ENVIRONMENT
        (found.environment if is_environment else found.given)[str(param.name)] = value

    def option(*names: str, env: str | None = None, **settings: Any) -> click.Option:
        return click.Option(
            list(names),
            envvar=env if is_root else None,
            show_envvar=True,
            hidden=not is_root,
            expose_value=False,
            callback=keep,
            **settings,
        )

    return [
        option(
            "--server",
            metavar="URL",
            env="CERTCTL_SERVER_URL",
            help="Address of the server, https only.",
        ),
        option(
            "--api-key",
            metavar="KEY",
            env="CERTCTL_API_KEY",
            help="The API key. Others on this machine see a command line: prefer the file.",
        ),
        option(
            "--api-key-file",
            metavar="FILE",
            env="CERTCTL_API_KEY_FILE",
            help="File with the API key.",
        ),
        option(
            "--ca-bundle",
            metavar="FILE",
            env="CERTCTL_SERVER_CA_BUNDLE_PATH",
            help="PEM file with the CA that the server is checked with.",
        ),
        option(
            "--data-dir",
            metavar="DIR",
            env="CERTCTL_DATA_DIR",
            help="Data directory of a server on this machine; its client.toml has all three.",
        ),
        option(
            "--timeout",
            metavar="SECONDS",
            type=click.FloatRange(min=0, min_open=True, max=3600),
            help="Wait for each answer (default 30).",
        ),
        option("--json", is_flag=True, default=False, help="Answer with JSON on stdout."),
        option("-v", "--verbose", is_flag=True, default=False, help="Show traces of failures."),
    ]
