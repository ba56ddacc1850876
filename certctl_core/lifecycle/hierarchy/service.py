"""The CAs of a tree: read, stored, given their certificate, retired, revoked (02 §9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import cast

from cryptography import x509

from certctl_core.kernel.db import Uow
from certctl_core.kernel.errors import NotFound
from certctl_core.kernel.ids import Prefix
from certctl_core.kernel.observability import counter
from certctl_core.kernel.operations import Resource
from certctl_core.lifecycle.authorities import KIND as LOCAL_KIND
from certctl_core.lifecycle.authorities import (
    AuthorityService,
    LedgerKind,
    LocalConfig,
    SerialAlreadyIssued,
)
from certctl_core.lifecycle.hierarchy import _store, rules
from certctl_core.lifecycle.hierarchy.errors import (
    ActiveRootExists,
    CACertificateRejected,
    CAKeyInUse,
    CANameTaken,
    CAStateWrong,
    CAStillIssues,
    CertificateOfOtherKey,
    ChildrenNotRetired,
    HierarchyRefused,
    IntermediateNotFound,
    ParentNotActive,
)
from certctl_core.lifecycle.hierarchy.events import (
    CARetired,
    CARetiring,
    CARevoked,
    CertificateInstalled,
    ChildCreated,
    IntermediateEvent,
    RootCreated,
)
from certctl_core.lifecycle.hierarchy.paths import (
    above,
    below,
    certificates,
    facts,
    is_revoked_above,
    key_id,
    path_of,
    read_certificates,
)
from certctl_core.lifecycle.hierarchy.schemas import (
    IntermediateView,
    RetiredIntermediateView,
    RevokedIntermediateView,
)
from certctl_core.lifecycle.hierarchy.types import (
    OVER,
    CANode,
    CAPlan,
    CAState,
    CAWish,
    KeyPlace,
    NewNode,
)
from certctl_core.lifecycle.hierarchy.views import view_of
from certctl_core.lifecycle.issuers import IssuerService, UnsupportedByIssuer
from certctl_core.pki.errors import PKIError
from certctl_core.pki.reasons import CRLReason, parse_reason
from certctl_core.pki.serials import canonical
from certctl_core.pki.x509 import describe, to_pem

_EVENTS = counter(
    "certctl_intermediate_ca_events_total",
    "What happened to the CAs of trees.",
    ("issuer_id", "kind"),
)

_KEY_STOLEN = frozenset({CRLReason.KEY_COMPROMISE, CRLReason.CA_COMPROMISE})

RecordRevocation = Callable[..., None]
"""``RevocationService.record_ca``: puts a CA certificate onto its issuer's CRL."""


class HierarchyService:
    """Owns ``intermediate_cas``; the keys are the authorities'.

    Args:
        authorities: Keys and ledger.
        issuers: Whose tree it is, and which CA issues.
        record_revocation: Writes the row from which CRL and OCSP of the parent follow.
    """

    def __init__(
        self,
        *,
        authorities: AuthorityService,
        issuers: IssuerService,
        record_revocation: RecordRevocation,
    ) -> None:
        self._authorities = authorities
        self._issuers = issuers
        self._record_revocation = record_revocation

    # -- reading ------------------------------------------------------------------------------

    def resource(self, uow: Uow, intermediate_id: str) -> Resource:
        """The scopes that a CA carries.

        Raises:
            IntermediateNotFound: No such id.
        """
        return Resource(issuer_id=self._node(uow, intermediate_id).owning_issuer_id)

    def of_issuer(self, uow: Uow, issuer_id: str) -> list[IntermediateView]:
        """Every CA of an issuer, oldest first.

        Raises:
            IssuerNotFound, UnsupportedByIssuer: No such issuer, or not one with a CA of ours.
        """
        issuing = self.local_config(uow, issuer_id).issuing_ca_id
        nodes = _store.of_issuer(uow, issuer_id)
        return [self._view(node, nodes, issuing) for node in nodes]

    def get(self, uow: Uow, intermediate_id: str) -> IntermediateView:
        """One CA.

        Raises:
            IntermediateNotFound: No such id.
        """
        node = self._node(uow, intermediate_id)
        nodes = _store.of_issuer(uow, node.owning_issuer_id)
        return self._view(node, nodes, self._issuing(uow, node.owning_issuer_id))

    def count_of_issuer(self, uow: Uow, issuer_id: str) -> int:
        """How many CAs of an issuer are still in use; it cannot be deleted under them."""
        return _store.count_open(uow, issuer_id)

    def over(self, uow: Uow, issuer_id: str) -> frozenset[str]:
        """The CAs of an issuer whose certificates prove nothing any more.

        They are retired, revoked, or stand below one that is revoked.
        """
        nodes = _store.of_issuer(uow, issuer_id)
        return frozenset(
            node.id for node in nodes if node.state in OVER or is_revoked_above(node, nodes)
        )

    def local_config(self, uow: Uow, issuer_id: str) -> LocalConfig:
        """The configuration of a local issuer.

        Raises:
            IssuerNotFound: No such id.
            UnsupportedByIssuer: Its CA keys are not ours.
        """
        row = self._issuers.row(uow, issuer_id)
        if row.kind != LOCAL_KIND:
            raise UnsupportedByIssuer(issuer_id=issuer_id, capability="a CA tree of its own")
        return cast("LocalConfig", self._issuers.configs.load(row))

    # -- creating: asked before and stored after the key is made ------------------------------

    def plan_root(self, uow: Uow, issuer_id: str, name: str, certificate: x509.Certificate) -> None:
        """Ask every rule about a root (HIER-1).

        Raises:
            RootRejected, CANameTaken, ActiveRootExists, CAKeyInUse: As named.
            IssuerNotFound, UnsupportedByIssuer: As for ``of_issuer``.
        """
        self.local_config(uow, issuer_id)
        rules.check_root(certificate, now=uow.now)
        nodes = _store.of_issuer(uow, issuer_id)
        self._check_free(nodes, issuer_id, name, key_id(certificate), is_root=True)

    def plan_child(
        self, uow: Uow, issuer_id: str, name: str, parent_ca_id: str, wish: CAWish
    ) -> CAPlan:
        """Ask every rule about a CA below another one, before its key is made (HIER-5).

        Raises:
            IntermediateNotFound: The parent is not in this issuer's tree.
            ParentNotActive: It takes no new CAs.
            CANameTaken, HierarchyRefused: As named.
            IssuerNotFound, UnsupportedByIssuer: As for ``of_issuer``.
        """
        self.local_config(uow, issuer_id)
        nodes = _store.of_issuer(uow, issuer_id)
        parent = next((node for node in nodes if node.id == parent_ca_id), None)
        if parent is None:
            raise IntermediateNotFound(intermediate_id=parent_ca_id, issuer_id=issuer_id)
        self._check_parent(parent, nodes, uow.now)
        self._check_free(nodes, issuer_id, name, "", is_root=False)
        return rules.plan_child(parent, path_of(parent, nodes), wish, now=uow.now)

    def store(self, uow: Uow, issuer_id: str, new: NewNode) -> str:
        """Store a CA: a root, one that its parent has signed, or one that waits for it.

        Writes its row, the ledger entry of its parent and its key's row; emits
        ``intermediate_ca.root_created`` or ``intermediate_ca.child_created``.

        Returns:
            Its id.

        Raises:
            ParentNotActive, CANameTaken, ActiveRootExists, CAKeyInUse: Somebody was faster.
        """
        nodes = _store.of_issuer(uow, issuer_id)
        if new.parent_ca_id is not None:
            parent = next(node for node in nodes if node.id == new.parent_ca_id)
            self._check_parent(parent, nodes, uow.now)
        is_root = new.parent_ca_id is None
        self._check_free(nodes, issuer_id, new.name, new.ca_key_id, is_root=is_root)
        node = self._new_node(uow, issuer_id, new)
        if not _store.insert(uow, node):
            # Somebody was faster between the look and the row; a second look says in what.
            nodes = _store.of_issuer(uow, issuer_id)
            self._check_free(nodes, issuer_id, new.name, new.ca_key_id, is_root=is_root)
            raise CANameTaken(name=new.name)
        if new.certificate is not None:
            self._take_in(uow, node, new.certificate, new.path)
        made = RootCreated if is_root else ChildCreated
        self._tell(uow, node, made, "create_root" if is_root else "create_child")
        return node.id

    def _new_node(self, uow: Uow, issuer_id: str, new: NewNode) -> CANode:
        certificate = new.certificate
        values: dict[str, object] = {
            "subject": new.subject,
            "state": CAState.CREATED,
            "cert_pem": None,
            "not_before": None,
            "not_after": None,
            "path_len_constraint": new.path_length,
            "name_constraints": rules.constraint_texts(new.constraints),
        }
        if certificate is not None:
            values = {"state": CAState.ACTIVE, **facts(certificate)}
        return CANode(
            id=uow.new_id(Prefix.INTERMEDIATE_CA),
            owning_issuer_id=issuer_id,
            parent_ca_id=new.parent_ca_id,
            name=new.name,
            chain_pem="",
            csr_pem=new.csr_pem,
            key_driver_id=None if new.key is None else new.key.text,
            ca_key_id=new.ca_key_id,
            ocsp_responder_url=new.ocsp_responder_url,
            metadata=new.metadata,
            created_by=uow.actor.id,
            created_at=uow.now,
            updated_at=uow.now,
            **values,  # type: ignore[arg-type] # the other half of its own fields
        )

    # -- the certificate from outside ---------------------------------------------------------

    def install(self, uow: Uow, intermediate_id: str, cert_pem: str, chain_pem: str | None) -> None:
        """Give a CA that waits the certificate which another CA signed.

        Emits ``intermediate_ca.activated``.

        Raises:
            IntermediateNotFound, CAStateWrong, ParentNotActive: As named.
            CertificateOfOtherKey: It holds another key than the request.
            HierarchyRefused: A leaf that says which rule it breaks.
        """
        node = self._node(uow, intermediate_id)
        if node.state is not CAState.CREATED or node.parent_ca_id is None:
            raise CAStateWrong(intermediate_id=node.id, state=node.state.value)
        nodes = _store.of_issuer(uow, node.owning_issuer_id)
        parent = next(one for one in nodes if one.id == node.parent_ca_id)
        self._check_parent(parent, nodes, uow.now)
        certificate, *rest = read_certificates(cert_pem)
        if key_id(certificate) != node.ca_key_id:
            reason = f"key id {key_id(certificate)}, expected {node.ca_key_id}"
            raise CertificateOfOtherKey(reason=reason)
        pool = [*rest, *(read_certificates(chain_pem) if chain_pem else ())]
        path = path_of(parent, nodes)
        between = rules.check_child(certificate, path, pool, now=uow.now)
        chain_text = "".join(map(to_pem, between))
        values = {"chain_pem": chain_text, **facts(certificate)}
        if not _store.swap(uow, node, CAState.ACTIVE, **values):
            raise CAStateWrong(intermediate_id=node.id, state=node.state.value)
        found = self._node(uow, intermediate_id)
        self._take_in(uow, found, certificate, (*between, *path))
        self._tell(uow, found, CertificateInstalled, "install_certificate")

    def _take_in(
        self,
        uow: Uow,
        node: CANode,
        certificate: x509.Certificate,
        path: Sequence[x509.Certificate],
    ) -> None:
        """The certificate goes into the ledger of who signed it, the key into service."""
        issuer_id = node.owning_issuer_id
        if path and self._has_key(uow, issuer_id, key_id(path[0])):
            info = describe(certificate)
            try:
                self._authorities.record_issued(
                    uow,
                    issuer_id=issuer_id,
                    ca_key_id=key_id(path[0]),
                    serial=canonical(certificate.serial_number),
                    kind=LedgerKind.SUB_CA,
                    subject=info.subject,
                    not_before=info.not_before,
                    not_after=info.not_after,
                    fingerprint_sha256=info.fingerprint_sha256,
                )
            except SerialAlreadyIssued as error:
                reason = "its parent has signed another certificate with this serial number"
                raise CACertificateRejected(reason=reason) from error
        if node.key_driver_id is not None:
            place = KeyPlace.of(node.key_driver_id)
            self._authorities.members.take_in(
                uow,
                issuer_id=issuer_id,
                member_id=node.id,
                certificate=certificate,
                above=path,
                signer=place.signer,
                key_ref=place.ref,
                ocsp_url=node.ocsp_responder_url,
            )

    # -- the end of a CA ----------------------------------------------------------------------

    def retire(
        self, uow: Uow, intermediate_id: str, *, note: str, confirm: bool
    ) -> RetiredIntermediateView:
        """Take a CA out of use in two calls: it signs nothing new, then it is over.

        CRL and OCSP for what it signed go on. Emits ``intermediate_ca.retiring`` or
        ``intermediate_ca.retired``.

        Raises:
            IntermediateNotFound: No such id.
            CAStateWrong: Neither active, nor retiring with ``confirm``.
            ChildrenNotRetired: A CA below it is still in use.
            CAStillIssues: It is the issuer's ``issuing_ca_id``.
        """
        node = self._node(uow, intermediate_id)
        is_confirmed = node.state is CAState.RETIRING and confirm
        if is_confirmed:
            self._check_drained(uow, node)
        elif node.state is not CAState.ACTIVE:
            raise CAStateWrong(intermediate_id=node.id, state=node.state.value)
        to = CAState.RETIRED if is_confirmed else CAState.RETIRING
        if not _store.swap(uow, node, to):
            raise CAStateWrong(intermediate_id=node.id, state=node.state.value)
        if not is_confirmed and self._has_key(uow, node.owning_issuer_id, node.ca_key_id):
            self._authorities.members.withdraw(uow, node.owning_issuer_id, node.ca_key_id)
        uow.wake("pki")
        found = self._node(uow, node.id)
        if is_confirmed:
            self._tell(uow, found, CARetired, "retire_retired", note=note)
        else:
            self._tell(uow, found, CARetiring, "retire_retiring", note=note)
        return RetiredIntermediateView(
            id=node.id, decided_by=uow.actor.id, confirmed=is_confirmed, state=found.state
        )

    def _check_drained(self, uow: Uow, node: CANode) -> None:
        open_children = [
            one
            for one in _store.of_issuer(uow, node.owning_issuer_id)
            if one.parent_ca_id == node.id and one.state not in OVER
        ]
        if open_children:
            raise ChildrenNotRetired(intermediate_id=node.id, children=len(open_children))
        if self._issuing(uow, node.owning_issuer_id) == node.id:
            raise CAStillIssues(intermediate_id=node.id, issuer_id=node.owning_issuer_id)

    def revoke(
        self, uow: Uow, intermediate_id: str, *, reason: str, note: str
    ) -> RevokedIntermediateView:
        """Revoke a CA: its parent's CRL tells it, and neither it nor a CA below signs any more.

        What was signed keeps its CRL and OCSP, unless the key is stolen or the root is revoked:
        then those keys sign nothing at all and the root leaves the bundle. Emits
        ``intermediate_ca.revoked``.

        Raises:
            IntermediateNotFound, CAStateWrong: As named.
            HierarchyRefused: Not a reason for a CA.
        """
        cause = _reason(reason)
        node = self._node(uow, intermediate_id)
        nodes = _store.of_issuer(uow, node.owning_issuer_id)
        on_crl = self._put_on_crl(uow, node, nodes, cause)
        if not _store.swap(uow, node, CAState.REVOKED):
            raise CAStateWrong(intermediate_id=node.id, state=node.state.value)
        is_root = node.parent_ca_id is None
        for one in (node, *below(node, nodes)):
            if self._has_key(uow, one.owning_issuer_id, one.ca_key_id):
                is_stolen = one is node and cause in _KEY_STOLEN
                self._authorities.members.withdraw(
                    uow, one.owning_issuer_id, one.ca_key_id, is_compromised=is_stolen or is_root
                )
        found = self._node(uow, node.id)
        self._tell(uow, found, CARevoked, "revoke", note=note, reason=cause.value, on_crl=on_crl)
        return RevokedIntermediateView(
            id=node.id, state=found.state, reason=cause.value, on_crl=on_crl
        )

    def _put_on_crl(
        self, uow: Uow, node: CANode, nodes: Sequence[CANode], cause: CRLReason
    ) -> bool:
        """Revoke the certificate where a key of ours signed it; False where that is elsewhere."""
        if node.cert_pem is None or node.parent_ca_id is None:
            return False
        signed_by = key_id(above(node, nodes)[0])
        if not self._has_key(uow, node.owning_issuer_id, signed_by):
            return False
        certificate = certificates(node.cert_pem)[0]
        self._record_revocation(
            uow,
            issuer_id=node.owning_issuer_id,
            ca_key_id=signed_by,
            serial=canonical(certificate.serial_number),
            not_after=certificate.not_valid_after_utc,
            reason=cause,
        )
        return True

    # -- small parts --------------------------------------------------------------------------

    def _node(self, uow: Uow, intermediate_id: str) -> CANode:
        node = _store.find(uow, intermediate_id)
        if node is None:
            raise IntermediateNotFound(intermediate_id=intermediate_id)
        return node

    def _issuing(self, uow: Uow, issuer_id: str) -> str | None:
        try:
            return self.local_config(uow, issuer_id).issuing_ca_id
        except NotFound:
            return None  # The issuer is gone; its tree goes on publishing.

    def _has_key(self, uow: Uow, issuer_id: str, ca_key_id: str) -> bool:
        return self._authorities.members.is_known(uow, issuer_id, ca_key_id)

    def _view(
        self, node: CANode, nodes: Sequence[CANode], issuing_ca_id: str | None
    ) -> IntermediateView:
        keys = self._authorities.authority_keys(node.owning_issuer_id)
        key = next((one for one in keys if one.ca_key_id == node.ca_key_id), None)
        return view_of(node, nodes, key=key, issuing_ca_id=issuing_ca_id)

    def _check_parent(self, parent: CANode, nodes: Sequence[CANode], now: datetime) -> None:
        reason = ""
        if parent.state is not CAState.ACTIVE:
            reason = f"it is {parent.state}"
        elif is_revoked_above(parent, nodes):
            reason = "a CA above it is revoked"
        elif parent.not_after is not None and parent.not_after <= now:
            reason = "its certificate has expired"
        if reason:
            raise ParentNotActive(parent_ca_id=parent.id, reason=reason)

    def _check_free(
        self, nodes: Sequence[CANode], issuer_id: str, name: str, ca_key_id: str, *, is_root: bool
    ) -> None:
        for node in nodes:
            if node.name == name:
                raise CANameTaken(name=name)
            if node.ca_key_id == ca_key_id:
                reason = f"it is the key of {node.name}"
                raise CAKeyInUse(ca_key_id=ca_key_id, reason=reason)
            if is_root and node.parent_ca_id is None and node.state is CAState.ACTIVE:
                raise ActiveRootExists(issuer_id=issuer_id)

    def _tell(
        self,
        uow: Uow,
        node: CANode,
        event: Callable[..., IntermediateEvent],
        kind: str,
        **more: object,
    ) -> None:
        uow.emit(
            event(
                resource_id=node.id,
                issuer_id=node.owning_issuer_id,
                parent_ca_id=node.parent_ca_id,
                ca_name=node.name,
                subject=node.subject,
                state=node.state.value,
                ca_key_id=node.ca_key_id,
                key_driver_id=node.key_driver_id,
                not_before=node.not_before,
                not_after=node.not_after,
                **more,
            )
        )
        uow.after_commit(_EVENTS.labels(node.owning_issuer_id, kind).inc)


def _reason(text: str) -> CRLReason:
    try:
        cause = parse_reason(text or "unspecified")
    except PKIError as error:
        raise HierarchyRefused(reason=f"'{text}' is no revocation reason") from error
    if cause is CRLReason.CERTIFICATE_HOLD:
        raise HierarchyRefused(reason="a CA cannot be put on hold")
    return cause
