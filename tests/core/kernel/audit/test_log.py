"""The audit log on a database (spec 05 §12)."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certctl_core.kernel.actors import ActorType
from certctl_core.kernel.audit import (
    AuditEventNotFound,
    AuditEventNotSealed,
    AuditKeys,
    AuditLog,
    AuditQuery,
    BreakReason,
    NoteSigner,
    PIIPolicy,
    VerifiedJustNow,
    known_verifiers,
)
from certctl_core.kernel.audit._store import walk
from certctl_core.kernel.audit._tables import audit_events
from certctl_core.kernel.audit.errors import BadTimeRange, BadTreeRange
from certctl_core.kernel.audit.loops import seal as seal_loop
from certctl_core.kernel.audit.loops import verify as verify_loop
from certctl_core.kernel.audit.merkle import is_consistent, root_of_inclusion
from certctl_core.kernel.audit.rules import event_json, hash_of_event
from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.kernel.errors import Conflict
from certctl_core.kernel.events import Bus, Category
from certctl_core.kernel.observability import REGISTRY
from certctl_core.kernel.scheduler import Loop, Replica, Scheduler
from certctl_core.kernel.secrets import Keyring, generate_keyring
from tests.core.kernel.audit.conftest import OPERATOR, LanternLit, LanternRuled, b64, event

HOUR = timedelta(hours=1)


class TestRecording:
    @pytest.mark.spec("05/AUD-1", "05/AUD-2", "05/AUD-3", "01/AUD-02")
    def test_an_event_is_stored_with_its_change(self, audit, units, write, clock):
        (event_id,) = write("lan-1", note="at dusk")
        row = event(units, audit, event_id)
        assert (row.actor, row.actor_type, row.action) == (
            "ak-operator",
            "api_key",
            "test_lantern.lit",
        )
        assert (row.event_category, row.resource_type, row.resource_id) == (
            "cert_lifecycle",
            "lantern",
            "lan-1",
        )
        assert (row.request_id, row.timestamp, row.seq) == ("req-1", clock.now(), None)
        assert row.details == {"note": "at dusk"}

    @pytest.mark.spec("05/AUD-3", "01/AUD-04")
    def test_a_change_that_is_rolled_back_leaves_no_event(self, audit, units):
        def change():
            with units.begin(OPERATOR) as uow:
                uow.emit(LanternLit(resource_id="lan-1"))
                raise Conflict

        with pytest.raises(Conflict):
            change()
        with units.read() as uow:
            assert audit.list(uow, AuditQuery()).data == []

    @pytest.mark.spec("05/AUD-3")
    def test_a_change_whose_event_cannot_be_stored_is_rolled_back(self, audit, units, attacker):
        with attacker() as connection:
            connection.exec_driver_sql("DROP TABLE audit_events")
            connection.exec_driver_sql("CREATE TABLE audit_events (id INTEGER)")

        def change():
            with units.begin(OPERATOR) as uow:
                uow.count("lanterns", 1)
                uow.emit(LanternLit(resource_id="lan-1"))

        with pytest.raises(sa.exc.DBAPIError):
            change()
        with units.read() as uow:
            assert uow.counter("lanterns") == 0

    @pytest.mark.spec("05/AUD-10", "01/AUD-01")
    def test_credentials_and_persons_are_redacted_before_storage(self, audit, units, write):
        detail = {
            "password": "hunter2-hunter2",
            "email": "ada@example.com",
            "list": [{"token": "t-123456789"}],
            "kept": "plain",
        }
        (event_id,) = write("lan-1", details_of_it=detail)
        row = event(units, audit, event_id)
        assert row.details["details_of_it"] == {
            "password": "[REDACTED:CREDENTIAL]",
            "email": "[REDACTED:PII]",
            "list": [{"token": "[REDACTED:CREDENTIAL]"}],
            "kept": "plain",
        }
        assert set(row.redacted_keys) == {
            "details_of_it.password",
            "details_of_it.email",
            "details_of_it.list[0].token",
        }

    @pytest.mark.spec("05/AUD-11")
    def test_personal_data_can_be_hashed_or_kept(self, signer, units, database, clock):
        def stored(audit, address):
            bus: Bus[Uow] = Bus()
            bus.at_commit(audit.record)
            own = UnitOfWorkFactory(database, clock=clock, bus=bus)
            with own.begin(OPERATOR) as uow:
                found = uow.emit(
                    LanternLit(resource_id="lan-1", details_of_it={"email": address, "pin": "x"})
                )
            return event(own, audit, found.id).details["details_of_it"]["email"]

        hashing = AuditLog(signer=signer, pii=PIIPolicy.HASH, pii_key=bytes(32))
        keeping = AuditLog(signer=signer, pii=PIIPolicy.KEEP)
        first, again = stored(hashing, "ada@example.com"), stored(hashing, "ada@example.com")
        assert first == again != stored(hashing, "bob@example.com")
        assert first.startswith("pii:")
        assert stored(keeping, "ada@example.com") == "ada@example.com"
        with pytest.raises(ValueError, match="key"):
            AuditLog(signer=signer, pii=PIIPolicy.HASH)

    def test_text_that_a_database_refuses_is_stored_readably(self, audit, units, write):
        (event_id,) = write("lan\x00-1", note="nul \x00 and \ud800 and 😀")
        audit.seal(units)
        row = event(units, audit, event_id)
        assert row.details["note"] == "nul \ufffd and \ufffd and 😀"
        assert audit.verify(units).ok

    @pytest.mark.spec("05/AUD-20", "05/AUD-23")
    @pytest.mark.parametrize(
        "table", ["audit_events", "audit_leaves", "audit_checkpoints", "audit_tiles"]
    )
    def test_the_database_refuses_changes(self, audit, units, write, database, table):
        write(*(f"lan-{number}" for number in range(300)))
        audit.seal(units)
        statements = [f"DELETE FROM {table}"]  # noqa: S608
        column = {"audit_events": "action", "audit_leaves": "event_id"}.get(table)
        if column:
            statements.append(f"UPDATE {table} SET {column} = 'x'")  # noqa: S608
        if database.is_postgres:
            statements.append(f"TRUNCATE {table} CASCADE")
        else:
            statements.append(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table} LIMIT 1")  # noqa: S608
        for statement in statements:
            with pytest.raises(sa.exc.DBAPIError, match="append-only"), database.write() as link:
                link.exec_driver_sql(statement)
        assert audit.verify(units).ok


class TestVerifying:
    @pytest.fixture
    def sealed(self, audit, units, write, clock):
        """600 sealed events in three batches."""
        ids = []
        for part in range(3):
            ids += write(*(f"lan-{part}-{number}" for number in range(200)), note="dim")
            audit.seal(units)
            clock.advance(timedelta(seconds=1))
        return ids

    @pytest.mark.spec("05/AUD-24", "08/RET-2")
    @pytest.mark.parametrize("column", ["action", "actor", "resource_id", "request_id"])
    def test_a_changed_row_is_found_with_its_index(self, audit, units, sealed, attacker, column):
        with attacker() as connection:
            connection.execute(
                sa.text(f"UPDATE audit_events SET {column} = 'x' WHERE id = :id"),  # noqa: S608
                {"id": sealed[321]},
            )
        report = audit.verify(units)
        assert not report.ok
        assert (report.reason, report.first_bad_index, report.first_bad_event_id) == (
            BreakReason.EVENT_CHANGED,
            321,
            sealed[321],
        )
        assert report.tree_size == 200

    @pytest.mark.spec("05/AUD-24")
    @pytest.mark.parametrize("place", [0, 255, 599])
    def test_a_deleted_event_is_found_with_its_index(self, audit, units, sealed, attacker, place):
        with attacker() as connection:
            connection.execute(
                sa.text("DELETE FROM audit_events WHERE id = :id"), {"id": sealed[place]}
            )
        report = audit.verify(units)
        assert (report.reason, report.first_bad_index) == (BreakReason.EVENT_MISSING, place)

    @pytest.mark.spec("05/AUD-24", "08/RET-2")
    def test_the_last_event_deleted_with_its_leaf_is_found(self, audit, units, sealed, attacker):
        with attacker() as connection:
            connection.execute(
                sa.text("DELETE FROM audit_events WHERE id = :id"), {"id": sealed[599]}
            )
            connection.exec_driver_sql("DELETE FROM audit_leaves WHERE leaf_index = 599")
        report = audit.verify(units)
        assert (report.reason, report.first_bad_index) == (BreakReason.LEAF_MISSING, 599)

    @pytest.mark.spec("05/AUD-24")
    def test_a_log_cut_off_with_its_checkpoint_is_found(self, audit, units, sealed, attacker):
        assert audit.verify(units).ok
        audit.seal(units)
        assert audit.verify(units).ok
        with attacker() as connection:
            connection.execute(
                sa.text("DELETE FROM audit_events WHERE id >= :id"), {"id": sealed[400]}
            )
            connection.exec_driver_sql("DELETE FROM audit_leaves WHERE leaf_index >= 400")
            connection.exec_driver_sql("DELETE FROM audit_checkpoints WHERE tree_size > 400")
        report = audit.verify(units)
        assert (report.reason, report.first_bad_index) == (BreakReason.LOG_TRUNCATED, 400)

    @pytest.mark.spec("05/AUD-24")
    def test_a_leaf_rewritten_with_its_event_does_not_fit_the_checkpoint(
        self, audit, units, sealed, attacker, signer
    ):
        other = AuditLog(signer=NoteSigner("certctl/test", Ed25519PrivateKey.generate()))
        with attacker() as connection:
            connection.execute(
                sa.text("UPDATE audit_events SET actor = 'ak-nobody' WHERE id = :id"),
                {"id": sealed[250]},
            )
        with units.read() as uow:
            (row,) = walk(uow, 250, 251)
            forged = hash_of_event(event_json(row._asdict()))
        with attacker() as connection:
            connection.execute(
                sa.text("UPDATE audit_leaves SET leaf_hash = :hash WHERE leaf_index = 250"),
                {"hash": forged},
            )
        report = audit.verify(units)
        assert (report.reason, report.first_bad_index) in {
            (BreakReason.ROOT_DIFFERS, 200),
            (BreakReason.NODE_CHANGED, 0),
        }
        assert not other.verify(units).ok

    def test_a_checkpoint_by_another_key_is_found(self, audit, units, write, sealed):
        stranger = AuditLog(signer=NoteSigner("certctl/test", Ed25519PrivateKey.generate()))
        write("lan-x")
        stranger.seal(units)
        report = audit.verify(units)
        assert (report.reason, report.first_bad_index) == (BreakReason.CHECKPOINT_INVALID, 600)

    @pytest.mark.spec("05/AUD-24")
    def test_an_event_that_the_sealer_passed_over_is_found(  # noqa: PLR0917
        self, audit, units, write, sealed, attacker, clock
    ):
        (hidden,) = write("lan-hidden")
        with attacker() as connection:
            table = sa.table("audit_events", sa.column("id"))
            saved = connection.execute(
                sa.text("SELECT * FROM audit_events WHERE id = :id"), {"id": hidden}
            ).one()
            connection.execute(sa.delete(table).where(table.c.id == hidden))
        clock.advance(timedelta(minutes=5))
        write("lan-later")
        audit.seal(units)
        with attacker() as connection:
            values = dict(saved._mapping)
            values["timestamp"] = clock.now() - timedelta(minutes=5)
            values["details"], values["redacted_keys"] = {}, []
            connection.execute(sa.insert(audit_events).values(**values))
        report = audit.verify(units)
        assert (report.reason, report.first_bad_event_id) == (BreakReason.EVENT_UNSEALED, hidden)

    @pytest.mark.spec("05/AUD-24")
    def test_the_next_verification_begins_where_the_last_ended(self, audit, units, sealed, write):
        assert audit.verify(units).from_index == 0
        write("lan-x")
        audit.seal(units)
        report = audit.verify(units)
        assert (report.from_index, report.tree_size, report.is_full) == (600, 602, False)
        assert audit.verify(units, full=True).from_index == 0

    def test_a_break_before_the_last_whole_tree_is_found_by_the_full_walk(
        self, audit, units, sealed, attacker
    ):
        assert audit.verify(units).ok
        with attacker() as connection:
            connection.execute(
                sa.text("UPDATE audit_events SET action = 'x' WHERE id = :id"), {"id": sealed[7]}
            )
        assert audit.verify(units).ok
        assert audit.verify(units, full=True).first_bad_index == 7

    def test_a_spent_budget_is_taken_up_again(self, audit, units, sealed):
        looks = iter([False, True])
        report = audit.verify(units, is_over=lambda: next(looks, True))
        assert report.ok
        assert report.tree_size in {0, 600}
        assert audit.verify(units).tree_size >= 600

    @pytest.mark.spec("05/AUD-24")
    def test_verifications_are_events_and_a_break_is_critical(self, audit, units, sealed, attacker):
        audit.verify(units, actor=OPERATOR, request_id="req-v")
        with attacker() as connection:
            connection.execute(
                sa.text("DELETE FROM audit_events WHERE id = :id"), {"id": sealed[3]}
            )
        audit.verify(units, full=True)
        with units.read() as uow:
            (good,) = audit.list(uow, AuditQuery(action="audit.verified")).data
            (bad,) = audit.list(uow, AuditQuery(action="audit.break_detected")).data
            shown = audit.checkpoint(uow).last_verification
        assert (good.actor, good.request_id) == ("ak-operator", "req-v")
        assert bad.details["first_bad_index"] == 3
        assert shown is not None
        assert (shown.ok, shown.first_bad_index) == (False, 3)

    @pytest.mark.spec("05/AUD-26")
    def test_a_person_may_verify_once_a_minute(self, audit, units, sealed, clock):
        audit.verify_on_request(units, full=False, actor=OPERATOR)
        with pytest.raises(VerifiedJustNow) as refusal:
            audit.verify_on_request(units, full=False, actor=OPERATOR)
        assert refusal.value.data["retry_after_seconds"] == 60
        clock.advance(timedelta(seconds=60))
        assert audit.verify_on_request(units, full=False, actor=OPERATOR).ok

    @pytest.mark.spec("05/AUD-24")
    def test_what_a_person_verifies_is_sealed_first(self, audit, units, write):
        write("lan-1", "lan-2")

        report = audit.verify_on_request(units, full=False, actor=OPERATOR)

        assert (report.ok, report.tree_size) == (True, 2)

    @pytest.mark.spec("08/RL-4")
    def test_who_has_to_wait_is_counted(self, audit, units, sealed):
        def counted() -> float:
            found = REGISTRY.get("certctl_rate_limited_total")
            assert found is not None
            return sum(x.value for x in found.series() if "audit_verify" in dict(x.labels).values())

        before = counted()
        audit.verify_on_request(units, full=False, actor=OPERATOR)
        assert counted() == before
        with pytest.raises(VerifiedJustNow):
            audit.verify_on_request(units, full=False, actor=OPERATOR)
        assert counted() == before + 1


class TestReading:
    def test_filters(self, audit, units, write, clock):
        write("lan-1", "lan-2")
        clock.advance(HOUR)
        with units.begin() as uow:
            uow.emit(LanternRuled(resource_id="lan-1"))
        cases = [
            (AuditQuery(), 3),
            (AuditQuery(category=Category.CONFIG), 1),
            (AuditQuery(actor="ak-operator"), 2),
            (AuditQuery(actor_type=ActorType.SYSTEM), 1),
            (AuditQuery(action="test_lantern.lit"), 2),
            (AuditQuery(resource_type="lantern", resource_id="lan-1"), 2),
            (AuditQuery(since=clock.now()), 1),
            (AuditQuery(until=clock.now()), 2),
            (AuditQuery(q="lan-2"), 1),
        ]
        with units.read() as uow:
            for query, expected in cases:
                page = audit.list(uow, query)
                assert (len(page.data), page.total) == (expected, expected)
            newest = audit.list(uow, AuditQuery(page_size=1))
        assert newest.data[0].action == "test_lantern.ruled"
        assert newest.next_cursor is not None

    def test_an_end_before_the_start_is_refused(self, audit, units, clock):
        query = AuditQuery(since=clock.now(), until=clock.now())
        with units.read() as uow, pytest.raises(BadTimeRange):
            audit.list(uow, query)

    def test_an_unknown_event_is_not_found(self, audit, units):
        for read in (audit.get, audit.proof):
            with units.read() as uow, pytest.raises(AuditEventNotFound):
                read(uow, "aud-none")

    @pytest.mark.spec("05/AUD-26")
    def test_inclusion_proofs_lead_to_the_checkpoint(self, audit, units, write, signer):
        ids = write(*(f"lan-{number}" for number in range(700)))
        audit.seal(units)
        for place in (0, 255, 256, 511, 512, 699):
            with units.read() as uow:
                proof = audit.proof(uow, ids[place])
            point = signer.verifier.checkpoint(proof.checkpoint)
            root = root_of_inclusion(
                b64(proof.leaf_hash),
                index=proof.leaf_index,
                size=proof.tree_size,
                proof=[b64(value) for value in proof.hashes],
            )
            assert (proof.leaf_index, root) == (place, point.root_hash)

    def test_an_unsealed_event_has_no_proof_yet(self, audit, units, write):
        (event_id,) = write("lan-1")
        with units.read() as uow, pytest.raises(AuditEventNotSealed):
            audit.proof(uow, event_id)

    @pytest.mark.spec("05/AUD-26")
    def test_consistency_proofs_join_old_and_new_checkpoints(self, audit, units, write, signer):
        points = []
        for count in (3, 300, 70, 1):
            write(*(f"lan-{count}-{number}" for number in range(count)))
            audit.seal(units)
            with units.read() as uow:
                points.append(signer.verifier.checkpoint(audit.checkpoint(uow).note))
        for old in points:
            with units.read() as uow:
                proof = audit.consistency(uow, old.tree_size)
            assert is_consistent(
                first=old.tree_size,
                second=points[-1].tree_size,
                first_root=old.root_hash,
                second_root=points[-1].root_hash,
                proof=[b64(value) for value in proof.hashes],
            )
        for first, second in ((0, 3), (4, 3), (1, 10_000)):
            with units.read() as uow, pytest.raises(BadTreeRange):
                audit.consistency(uow, first, second)


class TestKeysAndLoops:
    def test_the_signing_key_is_made_once_and_sealed(self, units, database):
        keyring = Keyring.from_setting(generate_keyring(), salt=bytes(16))
        first = AuditKeys(keyring, origin="certctl/one").open(units)
        again = AuditKeys(keyring, origin="certctl/two").open(units)
        with units.read() as uow:
            assert known_verifiers(uow) == (first.verifier,)
        assert again.verifier == first.verifier
        with database.read() as connection:
            stored = connection.exec_driver_sql("SELECT sealed_key FROM audit_keys").scalar()
        assert str(stored).startswith("v1.")

    @pytest.mark.spec("05/AUD-22", "05/AUD-24")
    def test_the_loops_seal_and_verify_under_their_leases(self, audit, units, write, clock):
        replica = Replica(id="replica-1", hostname="cp1", version="0.1.0", role="serve")
        scheduler = Scheduler(units, clock=clock, replica=replica)
        scheduler.add(
            Loop(
                name="audit_seal",
                interval=timedelta(seconds=1),
                run=lambda context: seal_loop(context, audit),
            )
        )
        scheduler.add(
            Loop(
                name="audit_verify", interval=HOUR, run=lambda context: verify_loop(context, audit)
            )
        )
        write("lan-1", "lan-2")
        assert scheduler.run_once("audit_seal").items == 2
        assert scheduler.run_once("audit_verify").items == 2
        assert not audit.is_full_due(units)
        clock.advance(timedelta(days=8))
        assert audit.is_full_due(units)
