"""What a tree refuses, and that nothing is left behind (02 HIER-1 … HIER-5, HIER-10, acceptance 10)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.app import Core
from certctl_core.contracts.options import ConfigInvalid
from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.errors import HTTP_STATUS, CertctlError
from certctl_core.kernel.observability import REGISTRY
from certctl_core.lifecycle.authorities import CAKeyInTree, NewCA
from certctl_core.lifecycle.hierarchy import CAState, IntermediateView
from certctl_core.lifecycle.issuers import IssuerCannotStart, IssuerInUse
from certctl_core.people.access import PermissionDenied
from certctl_core.pki.keys import KeyAlgorithm, ca_key_id, generate, private_key_pem
from certctl_core.pki.serials import new_serial
from certctl_core.pki.x509 import build_root, build_sub_ca, subject_name, to_pem
from certctl_core.testing.factories import actor_with
from certctl_core.testing.fakes import FakeClock
from tests.core.hierarchy.support import LOCAL, OfflineCA, Tree, certificate_of, subtrees

DAY = timedelta(days=1)


def refused(act: Any, code: str, status: int) -> CertctlError:
    """Run something that must fail with this code."""
    with pytest.raises(CertctlError) as caught:
        act()
    assert (caught.value.code, HTTP_STATUS[caught.value.kind]) == (code, status)
    return caught.value


def key_files(core: Core) -> list[Path]:
    return sorted((core.settings.data_dir / "ca").iterdir())


def root_pem(**changes: Any) -> str:
    now = SystemClock().now()
    values: dict[str, Any] = {
        "serial": new_serial(),
        "not_before": now - DAY,
        "not_after": now + 3650 * DAY,
    }
    return to_pem(build_root("Some Root", generate(KeyAlgorithm.ECDSA_P256), **(values | changes)))


class TestRoot:
    """HIER-1."""

    @pytest.mark.key_files
    def test_with_its_key_signs_children(self, tree: Tree) -> None:
        key = generate(KeyAlgorithm.ECDSA_P256)
        now = SystemClock().now()
        certificate = build_root(
            "Key Here", key, serial=new_serial(), not_before=now - DAY, not_after=now + 900 * DAY
        )
        path = tree.core.settings.data_dir / "ca" / "root.key"
        path.write_bytes(private_key_pem(key))
        path.chmod(0o600)
        root = tree.root(to_pem(certificate), key_driver_id="file:ca/root.key")
        assert (root.can_sign, root.key_driver_id) == (True, "file:ca/root.key")
        assert tree.child(root, "Child").state is CAState.ACTIVE

    @pytest.mark.key_files
    def test_with_another_key_is_refused(self, tree: Tree) -> None:
        key = tree.core.settings.data_dir / "ca"
        name = f"file:ca/{next(key.iterdir()).name}"
        error = refused(
            lambda: tree.root(root_pem(), key_driver_id=name), "ca_certificate_key_mismatch", 400
        )
        assert "another key" in error.detail
        assert tree.all() == []

    @pytest.mark.parametrize(
        "place", ["file:ca/none.key", "../../etc/shadow", "file:/etc/passwd", "nosigner:x", "file:"]
    )
    def test_with_a_key_that_cannot_be_had_is_refused(self, tree: Tree, place: str) -> None:
        refused(lambda: tree.root(root_pem(), key_driver_id=place), "ca_key_refused", 400)
        assert tree.all() == []

    def test_with_the_id_of_a_key_that_is_not_there_is_refused(self, tree: Tree) -> None:
        refused(lambda: tree.root(root_pem(), key_driver_id="0" * 40), "ca_key_in_use", 409)

    def test_what_is_no_root_is_refused(self, tree: Tree) -> None:
        now = SystemClock().now()
        offline = OfflineCA()
        below = build_sub_ca(
            subject_name("Not A Root"), public_key=generate(KeyAlgorithm.ED25519).public_key(),
            issuer=offline.certificate, key=offline.key, serial=new_serial(),
            not_before=now - DAY, not_after=now + DAY,
        )  # fmt: skip
        leaf = tree.leaf()[0]
        broken = bytearray(
            x509.load_pem_x509_certificate(root_pem().encode()).public_bytes(Encoding.DER)
        )
        broken[-1] ^= 1
        for pem, text in (
            (to_pem(below), "two names"),
            (to_pem(leaf), "two names"),
            (root_pem(not_before=now - 3 * DAY, not_after=now - DAY), "expired"),
            (root_pem(not_before=now + DAY), "not valid yet"),
            (to_pem(x509.load_der_x509_certificate(bytes(broken))), "self-signature"),
        ):
            error = refused(lambda pem=pem: tree.root(pem), "root_ca_rejected", 400)
            assert text in error.detail
        refused(lambda: tree.root("no certificate"), "ca_certificate_rejected", 400)

    def test_there_is_one_active_root(self, tree: Tree) -> None:
        first = tree.root(root_pem())
        refused(lambda: tree.root(root_pem(), "Two"), "active_root_exists", 409)
        tree.retire(first)
        assert tree.root(root_pem(), "Two").state is CAState.ACTIVE

    def test_one_key_is_one_ca(self, tree: Tree) -> None:
        pem = root_pem()
        tree.retire(tree.root(pem))
        refused(lambda: tree.root(pem, "Again"), "ca_key_in_use", 409)

    def test_the_two_forms_do_not_mix(self, tree: Tree) -> None:
        for body in (
            {"name": "x"},
            {"name": "x", "root_cert_pem": root_pem(), "parent_ca_id": "ica-1"},
            {"name": "x", "root_cert_pem": root_pem(), "ttl_days": 10},
            {"name": "x", "parent_ca_id": "ica-1"},
        ):
            with pytest.raises(Exception, match="not valid"):
                tree.post(**body)


def wishes() -> list[Any]:
    long = "x" * 300
    return [
        pytest.param({"path_len_constraint": 1}, "path_length_not_allowed", id="as_long_as_parent"),
        pytest.param(
            {"path_len_constraint": 3}, "path_length_not_allowed", id="longer_than_parent"
        ),
        pytest.param(
            {"name_constraints": [{"permitted": ["example.org"]}]},
            "name_constraints_not_allowed",
            id="permitted_outside",
        ),
        pytest.param(
            {"name_constraints": [{"permitted": ["secret.example.test"]}]},
            "name_constraints_not_allowed",
            id="permitted_is_excluded_above",
        ),
        pytest.param(
            {"name_constraints": [{"permitted": ["dns:*.example.test"]}]},
            "name_constraints_not_allowed",
            id="malformed_constraint",
        ),
        pytest.param(
            {"subject": {"common_name": "Parent CA"}}, "ca_subject_rejected", id="name_of_parent"
        ),
        pytest.param(
            {"subject": {"common_name": "x", "country": ["Germany"]}},
            "ca_subject_rejected",
            id="no_country",
        ),
        pytest.param(
            {"subject": {"common_name": "x", "organization": ["a\u202eb"]}},
            "ca_subject_rejected",
            id="bidi_in_subject",
        ),
        pytest.param({"subject": {"common_name": long}}, "validation_error", id="long_name"),
        pytest.param({"name": "Parent CA"}, "ca_name_taken", id="name_taken"),
    ]


@pytest.mark.key_files
@pytest.mark.spec("02/HIER-2", "02/HIER-3", "02/HIER-5")
@pytest.mark.parametrize(("wish", "code"), wishes())
def test_a_refused_child_leaves_no_key_behind(
    tree: Tree, core: Core, wish: dict[str, Any], code: str
) -> None:
    root = tree.own_root()
    parent = tree.child(
        root, "Parent CA", path_len_constraint=1,
        name_constraints=[{"permitted": ["example.test"], "excluded": ["secret.example.test"]}],
    )  # fmt: skip
    before = key_files(core)
    body = {"name": "Child", "subject": {"common_name": "Child CA"}} | wish
    status = 409 if code == "ca_name_taken" else 400
    refused(lambda: tree.post(parent_ca_id=parent.id, **body), code, status)
    assert key_files(core) == before
    assert len(tree.all()) == 2


@pytest.mark.spec("02/HIER-2")
class TestPathLength:
    @pytest.mark.key_files
    def test_counts_down_and_ends(self, tree: Tree, core: Core) -> None:
        offline = OfflineCA(path_length=2)
        root = tree.root(offline.pem)
        one = tree.child(root, "One")
        one = tree.install(one, offline.sign(one.csr_pem or ""))
        two = tree.child(one, "Two")
        assert (one.path_len_constraint, two.path_len_constraint) == (1, 0)
        before = key_files(core)
        error = refused(lambda: tree.child(two, "Three"), "path_length_not_allowed", 400)
        assert "path length 0" in error.detail
        assert key_files(core) == before

    def test_a_limit_further_up_counts_through_a_ca_without_one(self, tree: Tree) -> None:
        offline = OfflineCA(path_length=1)
        root = tree.root(offline.pem)
        one = tree.child(root, "One")
        one = tree.install(one, offline.sign(one.csr_pem or "", path_length=None))
        assert one.path_len_constraint is None
        refused(lambda: tree.child(one, "Two"), "path_length_not_allowed", 400)

    def test_is_free_without_a_limit_above(self, tree: Tree) -> None:
        child = tree.child(tree.own_root(), "Child", path_len_constraint=4)
        assert child.path_len_constraint == 4
        assert tree.child(child, "Grandchild").path_len_constraint == 3


@pytest.mark.spec("02/HIER-2", "02/HIER-3", "02/HIER-7")
class TestInstall:
    @pytest.fixture
    def offline(self) -> OfflineCA:
        return OfflineCA(path_length=1)

    @pytest.fixture
    def waiting(self, tree: Tree, offline: OfflineCA) -> IntermediateView:
        root = tree.root(offline.pem)
        return tree.child(root, "Child", name_constraints=[{"permitted": ["example.test"]}])

    @pytest.mark.parametrize(
        "refusal",
        [
            ({"path_length": 1}, "path_length_not_allowed", "smaller than 1"),
            ({"subject": subject_name("Example Offline Root")}, "ca_subject_rejected", "same name"),
            ({"not_before": SystemClock().now() + DAY}, "ca_certificate_rejected", "not valid yet"),
            (
                {"public_key": generate(KeyAlgorithm.ECDSA_P256).public_key()},
                "ca_certificate_key_mismatch",
                "expected",
            ),
        ],
        ids=["path_length", "name_of_root", "future", "other_key"],
    )
    def test_refuses(
        self,
        tree: Tree,
        offline: OfflineCA,
        waiting: IntermediateView,
        refusal: tuple[dict[str, Any], str, str],
    ) -> None:
        changes, code, text = refusal
        pem = offline.sign(waiting.csr_pem or "", **changes)
        error = refused(lambda: tree.install(waiting, pem), code, 400)
        assert text in error.detail
        assert tree.get(waiting).state is CAState.CREATED

    def test_refuses_a_foreign_signature(self, tree: Tree, waiting: IntermediateView) -> None:
        pem = OfflineCA(path_length=1).sign(waiting.csr_pem or "")
        error = refused(lambda: tree.install(waiting, pem), "ca_certificate_rejected", 400)
        assert "no issuer is known" in error.detail or "signature" in error.detail
        refused(lambda: tree.install(waiting, "-----"), "ca_certificate_rejected", 400)

    def test_refuses_wider_constraints_than_above(self, tree: Tree) -> None:
        offline = OfflineCA()
        root = tree.root(offline.pem)
        middle = tree.child(root, "Middle", name_constraints=[{"permitted": ["example.test"]}])
        middle = tree.install(middle, offline.sign(middle.csr_pem or ""))
        below = tree.child(middle, "Below", csr_only=True)
        signer = OfflineCA(name="Middle")
        wide = signer.sign(
            below.csr_pem or "",
            name_constraints=x509.NameConstraints(subtrees("example.org"), None),
        )
        refused(lambda: tree.install(below, wide), "ca_certificate_rejected", 400)

    def test_a_second_certificate_is_refused(
        self, tree: Tree, offline: OfflineCA, waiting: IntermediateView
    ) -> None:
        pem = offline.sign(waiting.csr_pem or "")
        tree.install(waiting, pem)
        refused(lambda: tree.install(waiting, pem), "ca_wrong_state", 409)

    def test_a_retiring_parent_takes_none(
        self, tree: Tree, offline: OfflineCA, waiting: IntermediateView
    ) -> None:
        tree.retire(next(ca for ca in tree.all() if ca.parent_ca_id is None))
        pem = offline.sign(waiting.csr_pem or "")
        refused(lambda: tree.install(waiting, pem), "parent_ca_not_active", 409)


@pytest.mark.spec("02/HIER-4", "02/HIER-6")
class TestRetire:
    """Acceptance 10."""

    @pytest.fixture
    def cas(self, tree: Tree) -> list[IntermediateView]:
        root = tree.own_root()
        middle = tree.child(root, "Middle")
        issuing = tree.child(middle, "Issuing CA")
        tree.issue_by(issuing)
        return [root, middle, issuing]

    def test_the_first_step_stops_issuing_and_the_chain_stays_valid(
        self, tree: Tree, cas: list[IntermediateView]
    ) -> None:
        leaf = tree.leaf("before.example.test")[0]
        result = tree.retire(cas[2], confirm=True, note="old")
        assert (result.state, result.confirmed) == (CAState.RETIRING, False)
        with pytest.raises(CertctlError, match="cannot"):
            tree.leaf("after.example.test")
        refused(lambda: tree.child(cas[2], "Child"), "parent_ca_not_active", 409)
        assert tree.status(certificate_of(cas[2]), leaf) == "good"
        assert tree.crl(cas[2]).is_signature_valid(certificate_of(cas[2]).public_key())  # type: ignore[arg-type]

    def test_no_thread_signs_after_the_call_has_returned(
        self, tree: Tree, cas: list[IntermediateView]
    ) -> None:
        """Also while another thread still reads what has changed."""
        authorities = tree.core.rooms.authorities
        is_over = Event()
        late: list[str] = []

        def sign() -> None:
            for _ in range(300):
                was_over = is_over.is_set()
                try:
                    key = authorities.signing_key("iss-local")
                except CertctlError:
                    continue
                if was_over:
                    late.append(key.ca_key_id)

        with ThreadPoolExecutor(6) as pool:
            done = [pool.submit(sign) for _ in range(6)]
            tree.retire(cas[2])
            is_over.set()
            for one in done:
                one.result()
        assert late == []

    def test_the_second_step_waits_for_children_and_for_the_issuer(
        self, tree: Tree, cas: list[IntermediateView]
    ) -> None:
        root, middle, issuing = cas
        tree.retire(middle)
        error = refused(lambda: tree.retire(middle, confirm=True), "ca_has_children", 409)
        assert "1 CAs below" in error.detail
        tree.retire(issuing)
        refused(lambda: tree.retire(issuing, confirm=True), "ca_still_issues", 409)
        tree.issue_by(root)
        assert tree.retire(issuing, confirm=True).state is CAState.RETIRED
        assert tree.retire(middle, confirm=True).state is CAState.RETIRED
        assert tree.crl(middle).is_signature_valid(certificate_of(middle).public_key())  # type: ignore[arg-type]

    def test_every_other_call_is_a_conflict(self, tree: Tree, cas: list[IntermediateView]) -> None:
        other = tree.child(cas[0], "Other")
        tree.retire(other)
        refused(lambda: tree.retire(other), "ca_wrong_state", 409)
        tree.retire(other, confirm=True)
        for body in ({}, {"confirm": True}):
            refused(lambda body=body: tree.retire(other, **body), "ca_wrong_state", 409)
        assert tree.revoke(other).state is CAState.REVOKED
        refused(lambda: tree.revoke(other), "ca_wrong_state", 409)
        refused(lambda: tree.retire(other), "ca_wrong_state", 409)

    def test_a_retired_ca_cannot_be_chosen(self, tree: Tree, cas: list[IntermediateView]) -> None:
        tree.retire(cas[1])
        with pytest.raises(IssuerCannotStart, match="no longer active"):
            tree.issue_by(cas[1])
        with pytest.raises(IssuerCannotStart, match="no such CA"):
            tree.core.call(
                "issuers.update",
                path={"issuer_id": "iss-local"},
                body={"config": {"hierarchy_mode": "tree", "issuing_ca_id": "ica-unknown"}},
            )

    def test_mode_and_ca_belong_together(self, core: Core) -> None:
        for config in ({"hierarchy_mode": "tree"}, {"issuing_ca_id": "ica-1"}):
            with pytest.raises(ConfigInvalid):
                core.call(
                    "issuers.update", path={"issuer_id": "iss-local"}, body={"config": config}
                )

    def test_its_key_does_not_come_back_by_going_single(
        self, tree: Tree, cas: list[IntermediateView]
    ) -> None:
        """The own CA of the issuer is the root: once it is retiring it issues no more."""
        tree.retire(cas[0])
        tree.issue_by(None)
        with pytest.raises(CertctlError):
            tree.leaf()


_MATRIX = {
    # state: (retire, retire with confirm, install, revoke) → state afterwards, or None: refused
    "created": (None, None, "active", "revoked"),
    "active": ("retiring", "retiring", None, "revoked"),
    "retiring": (None, "retired", None, "revoked"),
    "retired": (None, None, None, "revoked"),
    "revoked": (None, None, None, None),
}


@pytest.mark.parametrize("state", _MATRIX)
@pytest.mark.parametrize("step", range(4), ids=["retire", "confirm", "install", "revoke"])
def test_every_cell_of_the_table_of_states(tree: Tree, state: str, step: int) -> None:
    """02 §9: what each call makes of a CA in each state."""
    offline = OfflineCA()
    child = tree.child(tree.root(offline.pem), "Child")
    pem = offline.sign(child.csr_pem or "")
    if state != "created":
        tree.install(child, pem)
    if state in {"retiring", "retired"}:
        tree.retire(child)
    if state == "retired":
        tree.retire(child, confirm=True)
    if state == "revoked":
        tree.revoke(child)
    assert tree.get(child).state == state
    acts = (
        lambda: tree.retire(child),
        lambda: tree.retire(child, confirm=True),
        lambda: tree.install(child, pem),
        lambda: tree.revoke(child),
    )
    after = _MATRIX[state][step]
    if after is None:
        refused(acts[step], "ca_wrong_state", 409)
    else:
        acts[step]()
    assert tree.get(child).state == (after or state)


@pytest.mark.spec("02/ROT-6")
def test_a_tree_has_its_own_ways_for_rotation_and_retirement(tree: Tree, clock: FakeClock) -> None:
    child = tree.child(tree.own_root(), "Issuing CA")
    tree.issue_by(child)
    rotation = tree.core.rooms.authorities.rotation
    with tree.core.begin() as uow:
        config = tree.core.rooms.hierarchy.local_config(uow, "iss-local")
    with pytest.raises(CAKeyInTree):
        rotation.rotate("iss-local", config, NewCA(), actor=tree.actor, request_id="")
    tree.retire(child)
    with pytest.raises(CAKeyInTree), tree.core.begin() as uow:
        rotation.retire(uow, "iss-local", child.ca_key_id)


@pytest.mark.spec("02/HIER-10")
def test_everything_is_told_to_audit_and_metrics(tree: Tree) -> None:
    metric = REGISTRY.get("certctl_intermediate_ca_events_total")
    assert metric is not None

    def counted(kind: str) -> float:
        return metric.value(LOCAL, kind)

    kinds = ("create_root", "create_child", "retire_retiring", "retire_retired", "revoke")
    before = [counted(kind) for kind in kinds]
    root = tree.own_root()
    child, other = tree.child(root, "Child"), tree.child(root, "Other")
    tree.retire(child, note="not needed")
    tree.retire(child, confirm=True)
    tree.revoke(other, reason="superseded", note="new one")
    assert [counted(kind) - old for kind, old in zip(kinds, before, strict=True)] == [1, 2, 1, 1, 1]
    found = {
        (event.action, event.resource_id): event.details
        for event in tree.core.call("audit.list", query={"per_page": 100}).data
    }
    made = found["intermediate_ca.child_created", child.id]
    assert (made["parent_ca_id"], made["ca_name"], made["subject"], made["state"]) == (
        root.id, "Child", "CN=Child", "active",
    )  # fmt: skip
    assert made["key_driver_id"] == child.key_driver_id
    assert found["intermediate_ca.retiring", child.id]["note"] == "not needed"
    assert found["intermediate_ca.retired", child.id]["state"] == "retired"
    assert found["intermediate_ca.revoked", other.id]["on_crl"] is True
    assert ("intermediate_ca.root_created", root.id) in found
    assert "PRIVATE KEY" not in repr(found)


class TestAccess:
    """Acceptance 10: managing is the administrators', reading is not the agents'."""

    @pytest.mark.parametrize("role", ["r-operator", "r-viewer", "r-cli", "r-agent"])
    def test_others_change_nothing(self, tree: Tree, role: str) -> None:
        root = tree.own_root()
        other = Tree(tree.core, actor=actor_with(tree.core, role))
        for act in (
            lambda: other.root(root_pem(), "x"),
            lambda: other.child(root, "x"),
            lambda: other.install(root, root.cert_pem or ""),
            lambda: other.retire(root),
            lambda: other.revoke(root),
        ):
            with pytest.raises(PermissionDenied):
                act()
        if role == "r-agent":
            for act in (other.all, lambda: other.get(root)):
                with pytest.raises(PermissionDenied):
                    act()
        else:
            assert [ca.id for ca in other.all()] == [root.id]
            assert other.get(root).name == "Root"
        assert tree.get(root).state is CAState.ACTIVE


def test_a_parent_of_another_issuer_is_not_found(tree: Tree, core: Core) -> None:
    core.call("issuers.create", body={"id": "iss-two", "name": "Two", "kind": "local"})
    other = Tree(core, issuer_id="iss-two")
    root = tree.own_root()
    refused(lambda: other.child(root, "Child"), "intermediate_ca_not_found", 404)
    refused(lambda: Tree(core, issuer_id="iss-none").all(), "issuer_not_found", 404)
    refused(lambda: Tree(core, issuer_id="iss-none").root(root_pem()), "issuer_not_found", 404)
    assert other.all() == []
    mine = other.own_root()
    assert mine.ca_key_id != root.ca_key_id


def test_an_issuer_with_a_tree_is_not_deleted(core: Core) -> None:
    core.call("issuers.create", body={"id": "iss-two", "name": "Two", "kind": "local"})
    tree = Tree(core, issuer_id="iss-two")
    root = tree.own_root()
    path = {"issuer_id": "iss-two"}
    with pytest.raises(IssuerInUse):
        core.call("issuers.delete", path=path)
    tree.retire(root)
    tree.retire(root, confirm=True)
    core.call("issuers.delete", path=path)
    assert tree.get(root).state is CAState.RETIRED
    assert tree.crl(root).is_signature_valid(certificate_of(root).public_key())  # type: ignore[arg-type]


def test_an_expired_parent_takes_no_children(tree: Tree, clock: FakeClock) -> None:
    root = tree.own_root()
    short = tree.child(root, "Short", ttl_days=1)
    clock.advance(timedelta(days=2))
    error = refused(lambda: tree.child(short, "Child"), "parent_ca_not_active", 409)
    assert "expired" in error.detail


@pytest.mark.spec("02/HIER-5")
def test_a_signer_that_fails_leaves_nothing(tree: Tree, core: Core) -> None:
    root = tree.own_root()
    core.call(
        "issuers.update", path={"issuer_id": "iss-local"}, body={"config": {"signer": "nothing"}}
    )
    refused(lambda: tree.child(root, "Child"), "ca_key_unavailable", 503)
    assert len(tree.all()) == 1


def test_key_ids_are_those_of_the_certificates(tree: Tree) -> None:
    root = tree.own_root()
    child = tree.child(root, "Child")
    for ca in (root, child):
        assert ca.ca_key_id == ca_key_id(certificate_of(ca).public_key())
