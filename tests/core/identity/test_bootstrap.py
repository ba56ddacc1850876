"""The first administrator (05 §5): printed at the first start, or traded for a token, once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from certctl_core.app import Core
from certctl_core.kernel.config import Settings
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.secrets import generate_keyring
from certctl_core.people.identity import BootstrapService
from certctl_core.testing.factories import actor_with
from certctl_core.testing.fakes import FakeClock

TOKEN = "0123456789abcdef" * 4


@pytest.fixture
def core(database_url: str, clock: FakeClock, tmp_path: Path) -> Iterator[Core]:
    settings = Settings.for_directory(
        tmp_path / "data",
        database_url=database_url,
        config_encryption_keys=generate_keyring(),
        bootstrap_token=TOKEN,
    )
    with Core.open(settings, clock=clock) as opened:
        yield opened


def consume(core: Core, token: str = TOKEN, name: str = "first") -> str:
    body = {"token": token, "actor_name": name}
    value: str = core.call("auth.bootstrap", body=body).key_value
    return value


def code(core: Core, **how: str) -> str:
    with pytest.raises(CertctlError) as caught:
        consume(core, **how)
    return caught.value.code


def available(core: Core) -> bool:
    answer: bool = core.call("auth.bootstrap_state").available
    return answer


@pytest.mark.spec("05/BOOT-2", "05/BOOT-4", "05/BOOT-5", "05/BOOT-8")
def test_the_token_is_worth_one_administrator(core: Core) -> None:
    assert available(core)

    value = consume(core)

    actor = core.keys.authenticate(value)
    assert core.call("auth.me", actor=actor).admin
    assert not available(core)
    assert code(core) == "bootstrap_closed"
    assert code(core, token="wrong") == "bootstrap_closed"
    events = core.call("audit.list").data
    event = next(item for item in events if item.action == "bootstrap.consumed")
    assert (event.actor, event.actor_type) == ("bootstrap-token", "system")
    assert TOKEN not in str(events)
    assert value not in str(events)


@pytest.mark.spec("05/BOOT-3")
def test_a_wrong_token_leaves_the_path_open(core: Core) -> None:
    for token in ("wrong", TOKEN[:-1], TOKEN + "x", "é" * 64):
        assert code(core, token=token) == "unauthenticated"
    for name in ("", "AB", "a b", "x" * 65, "é"):
        assert code(core, name=name) == "validation_error"
    assert available(core)
    assert consume(core)


@pytest.mark.spec("05/BOOT-7")
def test_an_administrator_closes_it(core: Core) -> None:
    actor_with(core, "r-viewer", actor_id="u-viewer")
    assert available(core)
    actor_with(core, "r-admin", actor_id="u-admin")

    assert not available(core)
    assert code(core) == "bootstrap_closed"


@pytest.mark.spec("05/BOOT-6")
def test_a_failure_after_the_token_leaves_it_open(core: Core) -> None:
    core.call("api_keys.create", body={"name": "first", "no_expiry": True})

    assert code(core, name="first") == "api_key_name_taken"

    assert available(core)
    assert consume(core, name="second")


@pytest.mark.spec("05/BOOT-5")
def test_of_parallel_consumers_one_wins(core: Core, clock: FakeClock) -> None:
    outcomes: list[str] = []
    with Core.open(core.settings, clock=clock, migrate=False) as replica:

        def attempt(where: Core, number: int) -> None:
            try:
                consume(where, name=f"admin-{number}")
                outcomes.append("")
            except CertctlError as error:
                outcomes.append(error.code)

        threads = [
            threading.Thread(target=attempt, args=(where, number))
            for number, where in enumerate((core, replica) * 3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(outcomes) == ["", *["bootstrap_closed"] * 5]
    assert core.call("api_keys.list").total == 1


class TestFirstStart:
    """05 BOOT-10."""

    def service(self, core: Core, *, token: bool) -> BootstrapService:
        own = core.settings.auth.bootstrap_token
        return BootstrapService(
            units=core.units,
            keys=core.keys,
            access=core.rooms.access,
            token=own if token else None,
        )

    @pytest.mark.spec("05/BOOT-10")
    def test_one_key_while_nobody_administers(self, core: Core) -> None:
        service = self.service(core, token=False)
        with core.begin() as uow:
            secret = service.first_start(uow)
        assert secret is not None
        assert core.call("auth.me", actor=core.keys.authenticate(secret.reveal())).admin
        with core.begin() as uow:
            assert service.first_start(uow) is None
        assert secret.reveal() not in str(core.call("audit.list").data)
        assert not service.state(_reading(core)).available

    @pytest.mark.spec("05/BOOT-10")
    def test_none_while_a_token_is_set(self, core: Core) -> None:
        with core.begin() as uow:
            assert self.service(core, token=True).first_start(uow) is None

    def test_two_processes_start_at_once(self, core: Core) -> None:
        service = self.service(core, token=False)
        secrets: list[object] = []

        def start() -> None:
            with core.begin() as uow:
                secrets.append(service.first_start(uow))

        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(secrets) == 4
        assert sum(secret is not None for secret in secrets) == 1
        assert core.call("api_keys.list").total == 1


def _reading(core: Core):
    with core.units.read() as uow:
        return uow
