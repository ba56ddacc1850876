"""What the published CRL says of one certificate (02 OPS-4), compared with what is published."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from certctl_core.app import Core
from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.errors import Forbidden, NotFound, NotSupported
from certctl_core.lifecycle.revocation.errors import CANotTrusted, CRLNotPublished
from certctl_core.testing.fakes import FakeClock
from tests.core.revocation.support import Issued, Web, make, revoke, sql
from tests.core.revocation.test_crl_parts import BASE, path_of, settings_for

pytestmark = pytest.mark.spec("02/OPS-4")


def check(core: Core, issued: Issued, **call: Any) -> Any:
    return core.call("crl.check", path={"certificate_id": issued.certificate_id}, **call)


def number_of(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


class TestComplete:
    def test_it_says_what_relying_parties_read(
        self, core: Core, web: Web, clock: FakeClock
    ) -> None:
        made, other = make(core), make(core, "other.example.test")
        revoke(core, other.certificate_id, reason="superseded")

        before = check(core, made)
        since = clock.now() - timedelta(days=2)
        clock.advance(timedelta(seconds=1))
        revoke(core, made.certificate_id, reason="keyCompromise", invalidity_date=since)
        after = check(core, made)

        served = web.crl()
        assert (before.is_listed, before.reason, before.revoked_at) == (False, None, None)
        assert (before.is_verified, before.problem, before.entries) == (True, None, 1)
        assert (before.part, before.url, before.delta) == ("", None, None)
        assert (after.is_listed, after.reason, after.entries) == (True, "keyCompromise", 2)
        assert after.serial_number == made.serial
        assert after.crl_number == number_of(served) > before.crl_number
        assert after.this_update == served.last_update_utc
        assert after.next_update == served.next_update_utc
        entry = served.get_revoked_certificate_by_serial_number(int(made.serial, 16))
        assert entry is not None
        assert after.revoked_at == entry.revocation_date_utc
        assert after.invalidity_date == since.replace(microsecond=0)

    def test_a_hold_comes_and_goes(self, core: Core) -> None:
        made = make(core)
        revoke(core, made.certificate_id, reason="certificateHold")
        assert check(core, made).reason == "certificateHold"

        core.call("certificates.unhold", path={"certificate_id": made.certificate_id})

        assert not check(core, made).is_listed

    @pytest.mark.spec("02/CRL-6")
    def test_a_revocation_that_the_list_lacks_is_a_problem(self, core: Core, web: Web) -> None:
        made, other = make(core), make(core, "other.example.test")
        before = web.crl()
        for issued in (made, other):
            revoke(core, issued.certificate_id)
        # A row that holds no serial number: no list can be made, and the one before goes on.
        sql(
            core,
            "UPDATE certificate_revocations SET serial_number = 'none', entry_der = NULL "
            "WHERE certificate_id = :id",
            id=other.certificate_id,
        )
        core.pki.forget()

        view = check(core, made)

        assert (view.is_listed, view.is_verified) == (False, True)
        assert view.crl_number == number_of(before)
        assert "does not have it" in view.problem

    def test_an_expired_certificate_may_be_off_the_list(
        self, core: Core, web: Web, clock: FakeClock
    ) -> None:
        made = make(core)
        revoke(core, made.certificate_id)
        clock.advance(timedelta(days=91))
        web.crl()
        core.call("crl.regenerate", path={"issuer_id": "iss-local"})

        view = check(core, made)

        assert (view.is_listed, view.problem) == (False, None)

    def test_who_may_see_the_certificate_may_look(self, core: Core) -> None:
        made = make(core)
        nobody = Actor(type=ActorType.API_KEY, id="ak-nobody", label="nobody")
        with pytest.raises(Forbidden):
            check(core, made, actor=nobody)
        with pytest.raises(NotFound):
            core.call("crl.check", path={"certificate_id": "cert-none"})

    @pytest.mark.spec("02/ROT-6")
    def test_a_compromised_ca_is_the_problem(self, core: Core, web: Web, clock: FakeClock) -> None:
        made = make(core)
        assert check(core, made).problem is None
        path = {"issuer_id": "iss-local", "ca_key_id": web.key().ca_key_id}
        core.call("ca.mark_compromised", path=path, body={"note": "gone"})

        view = check(core, made)

        assert not view.is_listed
        assert "The key of the CA CN=certctl Local CA" in view.problem
        assert "is compromised" in view.problem
        clock.advance(timedelta(days=3))
        core.pki.forget()
        with pytest.raises(CANotTrusted) as caught:
            check(core, made)
        assert "is compromised" in caught.value.detail


class TestParts:
    @pytest.fixture
    def core(self, database_url: str, tmp_path: Path, clock: FakeClock) -> Iterator[Core]:
        settings = settings_for(
            database_url, tmp_path, pki_base_url=BASE, crl_partitions="4", crl_delta_above="1"
        )
        with Core.open(settings, clock=clock) as opened:
            yield opened

    def test_the_partition_of_the_serial_is_looked_at(self, core: Core, web: Web) -> None:
        made = [make(core, f"h{number}.example.test") for number in range(6)]
        revoke(core, made[0].certificate_id, reason="superseded")
        mine = path_of(made[0]).rpartition("/")[2]

        views = [check(core, item) for item in made]

        assert [view.is_listed for view in views] == [True] + [False] * 5
        assert views[0].part == mine
        for item, view in zip(made, views, strict=True):
            path = path_of(item)
            served = web.crl(path)
            assert view.url == f"{BASE}/.well-known/pki/{path}"
            assert path.endswith(f"/{view.part}")
            assert (view.crl_number, view.entries) == (number_of(served), len(served))
            assert (view.is_verified, view.problem, view.delta) == (True, None, None)

    def test_a_partition_of_an_earlier_count(
        self, core: Core, database_url: str, tmp_path: Path, clock: FakeClock
    ) -> None:
        made = make(core)
        Web(core).crl(path_of(made))
        keys = core.settings.encryption.keys
        changed = settings_for(
            database_url, tmp_path, pki_base_url=BASE, crl_partitions="2", keys=keys
        )
        with Core.open(changed, clock=clock, migrate=False) as later:
            revoke(later, made.certificate_id)
            view = check(later, made)
            sql(later, "DELETE FROM crl_cache")
            sql(later, "DELETE FROM crl_numbers")
            later.pki.forget()
            with pytest.raises(CRLNotPublished, match=view.part):
                check(later, made)

        assert (view.part, view.is_listed) == (path_of(made).rpartition("/")[2], True)

    def test_which_of_the_lists_are_stale_is_shown(
        self, core: Core, web: Web, clock: FakeClock
    ) -> None:
        made = make(core)
        mine = path_of(made).rpartition("/")[2]
        web.crl()
        web.crl(path_of(made))

        def stale() -> dict[str, bool]:
            (row,) = core.call("crl.state").cache_rows
            return {"": row.is_stale} | {part.part: part.is_stale for part in row.parts}

        fresh = stale()
        clock.advance(timedelta(hours=25))
        web.crl(path_of(made))
        later = stale()

        assert set(fresh.values()) == {False}
        assert (later[mine], later[""]) == (False, True)


class TestDelta:
    @pytest.fixture
    def core(self, database_url: str, tmp_path: Path, clock: FakeClock) -> Iterator[Core]:
        settings = settings_for(database_url, tmp_path, pki_base_url=BASE, crl_delta_above="1")
        with Core.open(settings, clock=clock) as opened:
            yield opened

    def test_the_delta_that_the_list_names_is_read_too(
        self, core: Core, web: Web, clock: FakeClock
    ) -> None:
        held, early, late, good = (make(core, f"h{number}.example.test") for number in range(4))
        revoke(core, held.certificate_id, reason="certificateHold")
        revoke(core, early.certificate_id, reason="superseded")
        base = number_of(web.crl())
        clock.advance(timedelta(hours=1))
        revoke(core, late.certificate_id, reason="keyCompromise")
        core.call("certificates.unhold", path={"certificate_id": held.certificate_id})

        views = {
            name: check(core, issued)
            for name, issued in {"held": held, "early": early, "late": late, "good": good}.items()
        }

        assert {name: (view.is_listed, view.delta.says) for name, view in views.items()} == {
            "held": (False, "removed"),
            "early": (True, None),
            "late": (True, "revoked"),
            "good": (False, None),
        }
        for view in views.values():
            assert (view.part, view.problem, view.delta.problem) == ("", None, None)
            assert view.delta.is_verified
            assert (view.delta.base_number, view.delta.crl_number) == (base, view.crl_number)


def test_another_issuers_list_is_not_published_here(core: Core) -> None:
    made = make(core)
    sql(core, "UPDATE certificate_versions SET ca_key_id = NULL")
    core.pki.forget()

    with pytest.raises(NotSupported):
        check(core, made)
