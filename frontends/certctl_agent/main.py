"""``enroll`` and ``run``: the agent's two entrances, with plain arguments for a command line.

What is wrong with the arguments or the host is raised before any connection is opened
(``AgentConfigProblem``, ``BadServerURL``, ``CABundleUnusable``, ``PolicyUnsafe``): exit status 2.
"""

from __future__ import annotations

import random
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

import structlog
from certctl_client.errors import BadServerURL, CABundleUnusable
from certctl_client.http import HTTP, check_url

from certctl_agent import host
from certctl_agent.errors import AgentConfigProblem, AgentNotEnrolled
from certctl_agent.jobs import Worker
from certctl_agent.keys import KeyStore
from certctl_agent.outbox import Outbox
from certctl_agent.process import Agent, Parts, Rhythm
from certctl_agent.server import Server
from certctl_agent.server import enroll as enroll_at
from certctl_agent.state import DEFAULT_STATE_DIR, Identity, StateDirectory
from certctl_core.contracts.host.registry import Registry
from certctl_core.deploy import DeployEngine, Policy, PolicyUnsafe
from certctl_core.kernel.clock import Clock, SystemClock
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.observability import configure
from certctl_core.kernel.release import VERSION
from certctl_core.kernel.secrets import Secret

DEFAULT_POLICY_FILE = Path("/etc/certctl/agent-policy.toml")
EXIT_OK = 0
EXIT_USAGE = 2
EXIT_FAILED = 1
_USAGE = (AgentConfigProblem, BadServerURL, CABundleUnusable, PolicyUnsafe)
_log = structlog.get_logger("certctl.agent")


def enroll(
    *,
    server_url: str,
    token: Secret | str,
    state_dir: Path = DEFAULT_STATE_DIR,
    ca_bundle: Path | None = None,
    name: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Identity:
    """Enroll a new agent and store its identity and credential.

    Args:
        server_url: ``https://host[:port]``.
        token: The enrollment token; not kept.
        state_dir: The agent's directory; created with mode 0700.
        ca_bundle: PEM file with the CA of the server; copied. None trusts the machine's CAs.
        name: Unique among active agents; the host's name when None.
        labels: For filters.

    Returns:
        Who the agent is from now on.

    Raises:
        BadServerURL, CABundleUnusable, AgentConfigProblem: Before any connection is opened.
        APIError: The server refused the token or the name.
        ServerUnreachable, ServerTimeout, UnexpectedAnswer: No usable answer came.
    """
    url = check_url(server_url)
    secret = Secret(token)
    with HTTP(url, ca_path=ca_bundle, user_agent=_user_agent()) as http:
        state = StateDirectory(state_dir)
        with state.claimed():
            state.require_vacant()
            if ca_bundle is not None:
                state.keep_ca(ca_bundle)
            enrolled = enroll_at(
                http,
                {
                    "token": secret.reveal(),
                    "name": name or host.hostname(),
                    "labels": dict(labels or {}),
                    **host.facts(url),
                },
            )
            identity = Identity(agent_id=enrolled.id, name=enrolled.name, server_url=url)
            state.keep(identity, Secret(enrolled.api_key))
    return identity


def run(
    *,
    state_dir: Path = DEFAULT_STATE_DIR,
    server_url: str | None = None,
    ca_bundle: Path | None = None,
    key_dir: Path | None = None,
    api_key_file: Path | None = None,
    policy_file: Path = DEFAULT_POLICY_FILE,
    poll_interval: float | None = None,
    heartbeat_interval: float | None = None,
    max_jobs: int = 4,
    plugins_disabled: Sequence[str] = (),
    enrollment_token: Secret | None = None,
    name: str | None = None,
    log_level: str | None = "info",
    log_format: str = "json",
    stop: threading.Event | None = None,
    clock: Clock | None = None,
    rng: random.Random | None = None,
) -> int:
    """Run the agent until SIGTERM or SIGINT comes, or until the server retires it.

    Args:
        state_dir: The agent's directory.
        server_url: Another address than the one it enrolled at.
        ca_bundle: Another CA than the one it enrolled with.
        key_dir: Where private keys lie; ``keys`` in the state directory when None.
        api_key_file: Where the credential lies; ``credential`` in the state directory when None.
        policy_file: What the host allows; without the file the defaults hold.
        poll_interval: Seconds between polls; None follows the server.
        heartbeat_interval: Seconds between heartbeats; None follows the server.
        max_jobs: How many jobs at once.
        plugins_disabled: Plugins that are not loaded.
        enrollment_token: Enrolls the agent first if it is not enrolled yet (AGT-07).
        name: Its name in that case.
        log_level: ``debug info warn error``; None leaves logging to the caller.
        log_format: ``json`` or ``text``, on standard output.
        stop: Ends the agent when set, like a signal; for callers that are no program.
        clock: The time.
        rng: Where jitter comes from.

    Returns:
        Exit status 0: it was stopped or retired.

    Raises:
        BadServerURL, CABundleUnusable, AgentConfigProblem, PolicyUnsafe: Before any connection is
            opened.
        CertctlError: The enrollment with ``enrollment_token`` failed.
    """
    time = clock or SystemClock()
    if log_level is not None:
        configure(level=log_level, form=log_format, clock=time, stream=sys.stdout)
    if server_url is not None:
        check_url(server_url)
    policy = Policy.load(policy_file)
    state = StateDirectory(state_dir)
    if not state.is_enrolled() and enrollment_token is not None:
        if server_url is None:
            raise AgentNotEnrolled(state_dir=str(state.path))
        enroll(
            server_url=server_url,
            token=enrollment_token,
            state_dir=state_dir,
            ca_bundle=ca_bundle,
            name=name,
        )
    identity = state.identity()
    credential = state.credential(api_key_file)
    url = check_url(server_url or identity.server_url)
    abort = threading.Event()
    with state.claimed():
        http = HTTP(
            url,
            api_key=credential.reveal(),
            ca_path=ca_bundle or state.ca_path,
            user_agent=_user_agent(),
            attempts=1,
        )
        kinds = Registry.load(disabled=plugins_disabled).targets
        server = Server(http, identity.agent_id)
        outbox = Outbox(state.path / "reports", server)
        keys = KeyStore(key_dir or state.path / "keys", clock=time)
        engine = DeployEngine(state.path, policy, time, structlog.get_logger("certctl.deploy"))
        parts = Parts(
            server=server,
            server_url=url,
            worker=Worker(
                server=server,
                keys=keys,
                engine=engine,
                kinds=kinds,
                outbox=outbox,
                abort=abort,
            ),
            outbox=outbox,
            keys=keys,
            engine=engine,
            policy=policy,
            target_kinds=tuple(kind for kind, entry in kinds.items() if entry.info.available),
            clock=time,
        )
        rhythm = Rhythm(
            heartbeat_seconds=heartbeat_interval,
            poll_seconds=poll_interval,
            max_jobs=max(1, max_jobs),
            rng=rng or random.SystemRandom(),
        )
        agent = Agent(parts, rhythm, abort=abort)
        _log.info("agent.started", agent_id=identity.agent_id, name=identity.name, server_url=url)
        _follow(agent, stop)
        agent.run()
    return EXIT_OK


def exit_status(error: CertctlError) -> int:
    """The exit status for an error of ``enroll`` or ``run``: 2 for the caller's, else 1."""
    return EXIT_USAGE if isinstance(error, _USAGE) else EXIT_FAILED


def _follow(agent: Agent, stop: threading.Event | None) -> None:
    if stop is not None:

        def wait() -> None:
            stop.wait()
            agent.stop()

        threading.Thread(target=wait, name="stop", daemon=True).start()
    if threading.current_thread() is not threading.main_thread():
        return  # Signals reach the main thread only; whoever owns it has `stop`.

    def end(number: int, _frame: FrameType | None) -> None:
        _log.info("agent.signal", signal=signal.Signals(number).name)
        agent.stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)


def _user_agent() -> str:
    return f"certctl-agent/{VERSION}"
