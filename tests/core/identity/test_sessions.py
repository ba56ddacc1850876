"""Browser sessions (05 §8): the cookie, its times, its signing keys, the CSRF token."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certctl_core.app import Core
from certctl_core.kernel.errors import CertctlError
from certctl_core.people.identity import NewSession, Session
from certctl_core.people.identity.errors import SessionInvalid
from certctl_core.testing.factories import actor_with
from certctl_core.testing.fakes import FakeClock
from tests.core.identity.test_keys import make

IP, AGENT = "192.0.2.1", "Browser/1"


def login(core: Core, name: str = "key", *, user_agent: str = AGENT) -> NewSession:
    value = make(core, name, role_ids=["r-operator"]).key_value
    return core.sessions.login_with_key(value, ip=IP, user_agent=user_agent)


def check(core: Core, cookie: str, *, ip: str = IP, user_agent: str = AGENT) -> Session:
    return core.sessions.authenticate(cookie, ip=ip, user_agent=user_agent)


def cause(core: Core, cookie: str, **how: str) -> str:
    with pytest.raises(SessionInvalid) as caught:
        check(core, cookie, **how)
    return str(caught.value.data["cause"])


def test_login_gives_a_session_of_the_keys_actor(core: Core) -> None:
    new = login(core)
    cookie = new.cookie.reveal()

    session = check(core, cookie)

    assert session == new.session
    assert session.actor.session_id == session.id
    assert cookie not in repr(new)
    assert core.call("auth.me", actor=session.actor).roles == ["r-operator"]
    actions = [item.action for item in core.call("audit.list").data]
    assert "auth.session_created" in actions
    with pytest.raises(CertctlError):
        core.sessions.login_with_key("ctl_none", ip=IP, user_agent=AGENT)


@pytest.mark.spec("05/SES-2", "05/SES-3")
def test_every_part_of_the_cookie_counts(core: Core) -> None:
    one, two = (login(core, name).cookie.reveal() for name in ("one", "two"))
    with core.begin() as uow:
        core.sessions.rotate_signing_key(uow)
    three = login(core, "three").cookie.reveal()
    parts, others, newer = one.split("."), two.split("."), three.split(".")
    check(core, one)

    def joined(*changed: str) -> str:
        return ".".join(changed)

    version, session, key, mac = parts
    bad = [
        "",
        "v1",
        joined("v2", session, key, mac),
        joined(version, others[1], key, mac),
        joined(version, session, newer[2], mac),
        joined(version, session, key, others[3]),
        joined(version, session, key),
        joined(version, session, key, mac, "x"),
        joined(version, session, key, mac[:-1] + ("A" if mac[-1] != "A" else "B")),
        joined(version, session, key, mac + "="),
        joined(version, session, key, mac[:-1]),
        joined(version, session, key, "é" * 43),
        joined(version, session.upper(), key, mac),
        joined(version, session.replace("ses-", "pl-"), key, mac),
        joined(version, session, "sk-" + "0" * 16, mac),
        joined(version, session, "sk-\x00", mac),
        joined(version, session + "\x00", key, mac),
        joined(version, session[:-1], session[-1] + key, mac),
        joined(version, session, key, "A" * 5000),
        one + "\n",
    ]
    assert {cause(core, cookie) for cookie in bad} == {"invalid_token"}
    check(core, one)


@given(text=st.text(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_any_other_text_is_no_cookie(core: Core, text: str) -> None:
    assert cause(core, text) == "invalid_token"
    assert cause(core, f"v1.ses-{'0' * 64}.sk-{'0' * 16}.{text}") == "invalid_token"


class TestTimes:
    """05 SES-10, SES-11."""

    @pytest.mark.spec("05/SES-10", "05/SES-11")
    def test_use_keeps_it_alive_up_to_the_absolute_end(self, core: Core, clock: FakeClock) -> None:
        new = login(core)
        cookie = new.cookie.reveal()
        for _ in range(8):
            clock.advance(timedelta(minutes=59))
            check(core, cookie)
        row = core.call("sessions.list", actor=new.session.actor).data[0]
        assert row.last_seen_at == clock.now()
        assert row.idle_expires_at == row.absolute_expires_at == new.session.absolute_expires_at
        clock.set(new.session.absolute_expires_at - timedelta(seconds=1))
        check(core, cookie)
        clock.set(new.session.absolute_expires_at)
        assert cause(core, cookie) == "absolute_timeout"

    @pytest.mark.spec("05/SES-10")
    def test_without_use_it_ends(self, core: Core, clock: FakeClock) -> None:
        cookie = login(core).cookie.reveal()
        clock.advance(timedelta(minutes=59))
        check(core, cookie)
        clock.advance(timedelta(hours=1))
        assert cause(core, cookie) == "idle_timeout"
        assert cause(core, cookie) == "idle_timeout"

    @pytest.mark.spec("05/SES-24", "05/PRIV-7")
    def test_garbage_is_collected(self, core: Core, clock: FakeClock) -> None:
        login(core)
        with core.begin() as uow:
            core.sessions.rotate_signing_key(uow)
            assert core.sessions.collect_garbage(uow) == 0
        clock.advance(timedelta(hours=25))

        with core.begin() as uow:
            assert core.sessions.collect_garbage(uow) == 2, "the session, then its signing key"


class TestRevoke:
    def test_by_its_owner(self, core: Core) -> None:
        new, other = login(core, "one"), login(core, "two")
        path = {"session_id": new.session.id}
        check(core, new.cookie.reveal())

        with pytest.raises(CertctlError) as caught:
            core.call("sessions.revoke", actor=other.session.actor, path=path)
        assert caught.value.code == "session_not_found"
        core.call("sessions.revoke", actor=new.session.actor, path=path)

        assert cause(core, new.cookie.reveal()) == "revoked"
        check(core, other.cookie.reveal())
        with pytest.raises(CertctlError):
            core.call("sessions.revoke", path=path)

    def test_by_an_administrator(self, core: Core) -> None:
        new = login(core)
        admin = actor_with(core, "r-admin", actor_id="u-admin")
        assert core.call("sessions.list", actor=admin).total == 0
        assert core.call("sessions.list", actor=admin, query={"all": True}).total == 1
        with pytest.raises(CertctlError) as caught:
            core.call("sessions.list", actor=new.session.actor, query={"all": True})
        assert caught.value.code == "forbidden"

        core.call("sessions.revoke", actor=admin, path={"session_id": new.session.id})

        assert cause(core, new.cookie.reveal()) == "revoked"

    def test_with_the_key_that_opened_it(self, core: Core, clock: FakeClock) -> None:
        made = make(core, role_ids=["r-operator"])
        ends = make(core, "ends", expires_at=clock.now() + timedelta(minutes=1))
        cookies = [
            core.sessions.login_with_key(key.key_value, ip=IP, user_agent=AGENT).cookie.reveal()
            for key in (made, ends)
        ]
        for cookie in cookies:
            check(core, cookie)

        core.call("api_keys.revoke", path={"key_id": made.id})
        clock.advance(timedelta(minutes=1))

        assert [cause(core, cookie) for cookie in cookies] == ["revoked", "revoked"]

    def test_in_another_process(self, core: Core, clock: FakeClock) -> None:
        new = login(core)
        with Core.open(core.settings, clock=clock, migrate=False) as replica:
            check(replica, new.cookie.reveal())
            core.call("sessions.revoke", path={"session_id": new.session.id})
            clock.advance(timedelta(seconds=5))
            assert cause(replica, new.cookie.reveal()) == "revoked"

    @pytest.mark.spec("05/SES-13")
    def test_the_oldest_of_too_many(self, core: Core, clock: FakeClock) -> None:
        value = make(core).key_value
        cookies = []
        for _ in range(22):
            clock.advance(timedelta(seconds=1))
            new = core.sessions.login_with_key(value, ip=IP, user_agent=AGENT)
            cookies.append(new.cookie.reveal())

        assert [cause(core, cookie) for cookie in cookies[:2]] == ["revoked", "revoked"]
        for cookie in cookies[2:]:
            check(core, cookie)


class TestSigningKeys:
    """05 SES-20 … SES-23."""

    @pytest.mark.spec("05/SES-20")
    def test_the_first_one_is_made_at_the_first_start(self, core: Core) -> None:
        login(core)
        with core.begin() as uow:
            core.sessions.rotate_signing_key(uow)

        made = [
            row.action
            for row in core.call("audit.list", query={"sort": "timestamp"}).data
            if row.action.startswith("auth.session_signing_key")
        ]
        assert made == ["auth.session_signing_key_bootstrap", "auth.session_signing_key_rotated"]

    @pytest.mark.spec("05/SES-21")
    def test_the_old_one_verifies_until_its_retention_ends(
        self, core: Core, clock: FakeClock
    ) -> None:
        core.sessions.rules = type(core.sessions.rules)(
            idle=timedelta(days=10), absolute=timedelta(days=20)
        )
        old = login(core, "old").cookie.reveal()
        with core.begin() as uow:
            core.sessions.rotate_signing_key(uow)
        new = login(core, "new").cookie.reveal()

        assert old.split(".")[2] != new.split(".")[2]
        clock.advance(timedelta(hours=24) - timedelta(seconds=1))
        check(core, old)
        clock.advance(timedelta(seconds=1))
        assert cause(core, old) == "invalid_token"
        check(core, new)

    @pytest.mark.spec("05/SES-22")
    def test_it_rotates_by_itself(self, core: Core, clock: FakeClock) -> None:
        first = login(core, "one").cookie.reveal().split(".")[2]
        clock.advance(timedelta(days=30))
        core.background.scheduler.run_once("session_gc")
        second = login(core, "two").cookie.reveal().split(".")[2]
        assert first != second

    def test_a_restart_keeps_sessions(self, core: Core, clock: FakeClock) -> None:
        cookie = login(core).cookie.reveal()
        with Core.open(core.settings, clock=clock, migrate=False) as again:
            check(again, cookie)


@pytest.mark.spec("05/CSRF-2")
def test_the_csrf_token_belongs_to_one_session(core: Core) -> None:
    one, two = login(core, "one").session, login(core, "two").session

    assert core.sessions.check_csrf(one, one.csrf_token)
    for token in (two.csrf_token, "", one.csrf_token[:-1], one.csrf_token + "A", "é"):
        assert not core.sessions.check_csrf(one, token)
    assert one.id not in one.csrf_token


@pytest.mark.spec("05/SES-12")
def test_bindings_are_off_unless_asked_for(core: Core) -> None:
    cookie = login(core).cookie.reveal()
    check(core, cookie, ip="198.51.100.1", user_agent="Other/2")

    rules = type(core.sessions.rules)
    core.sessions.rules = rules(bind_ip=True)
    assert cause(core, cookie, ip="198.51.100.1") == "invalid_token"
    check(core, cookie)
    core.sessions.rules = rules(bind_user_agent=True)
    assert cause(core, cookie, user_agent="Other/2") == "invalid_token"
    check(core, cookie)
    long = login(core, "long", user_agent="A" * 600).cookie.reveal()
    check(core, long, user_agent="A" * 600)
