"""Making CAs: a signer makes the key and a CA signs, between two units of work (02 §9)."""

from __future__ import annotations

import re
from dataclasses import replace

import structlog

from certctl_core.kernel.actors import Actor
from certctl_core.kernel.db import UnitOfWorkFactory
from certctl_core.kernel.errors import CertctlError
from certctl_core.lifecycle.authorities import (
    AuthorityKey,
    AuthorityService,
    CAKeyState,
    CAMaterialError,
    LocalConfig,
    SelfCheckFailed,
)
from certctl_core.lifecycle.hierarchy.errors import CAKeyInUse, CAKeyRefused, CertificateOfOtherKey
from certctl_core.lifecycle.hierarchy.paths import key_id, read_certificates
from certctl_core.lifecycle.hierarchy.schemas import (
    CreateIntermediate,
    InstallCertificate,
    IntermediateView,
)
from certctl_core.lifecycle.hierarchy.service import HierarchyService
from certctl_core.lifecycle.hierarchy.types import CAPlan, KeyPlace, NewNode
from certctl_core.pki import chain
from certctl_core.pki.errors import PKIError
from certctl_core.pki.keys import SigningKey, ca_key_id
from certctl_core.pki.x509 import build_ca_request, build_sub_ca

_log = structlog.get_logger("certctl.hierarchy")
_KEY_ID = re.compile(r"[0-9a-fA-F]{40}")
_LOST = frozenset({CAKeyState.COMPROMISED, CAKeyState.RETIRED})


class HierarchyWorkflow:
    """The use cases of the tree that ask a signer.

    Args:
        service: The CAs.
        authorities: Their keys.
        units: Opens the transactions.
    """

    def __init__(
        self,
        *,
        service: HierarchyService,
        authorities: AuthorityService,
        units: UnitOfWorkFactory,
    ) -> None:
        self._service = service
        self._authorities = authorities
        self._units = units

    def create(
        self, issuer_id: str, body: CreateIntermediate, *, actor: Actor, request_id: str
    ) -> IntermediateView:
        """Register a root, or make a CA below another one.

        Below a CA whose key is not here, and with ``csr_only``, the new CA waits for its
        certificate; else its parent signs it at once.

        Returns:
            The new CA; ``csr_pem`` is set when another CA has to sign.

        Raises:
            HierarchyRefused: A leaf that says which rule forbids it; no key was made.
            IssuerNotFound, IntermediateNotFound: No such issuer, or no such parent in its tree.
            ParentNotActive, CANameTaken, ActiveRootExists, CAKeyInUse: As named.
            CAMaterialError: The signer cannot make the key.
            AuthorityUnavailable: The parent's key cannot sign now.
        """
        # What another process did a moment ago counts as well.
        self._authorities.look_again()
        if body.root_cert_pem is not None:
            new = self._root(issuer_id, body, body.root_cert_pem, actor, request_id)
        else:
            new = self._child(issuer_id, body, body.parent_ca_id or "", actor, request_id)
        try:
            with self._units.begin(actor, request_id=request_id) as uow:
                intermediate_id = self._service.store(uow, issuer_id, new)
        except CertctlError as error:
            if new.key is not None and body.key_driver_id is None and body.root_cert_pem is None:
                _log.warning("ca_key.unused", key_driver_id=new.key.text, code=error.code)
            raise
        return self._seen(intermediate_id)

    def install(
        self, intermediate_id: str, body: InstallCertificate, *, actor: Actor, request_id: str
    ) -> IntermediateView:
        """Give a CA that waits the certificate which another CA signed; see the service.

        Raises:
            As for ``HierarchyService.install``.
        """
        with self._units.begin(actor, request_id=request_id) as uow:
            self._service.install(uow, intermediate_id, body.cert_pem, body.chain_pem)
        return self._seen(intermediate_id)

    def _seen(self, intermediate_id: str) -> IntermediateView:
        """A CA as it is after the commit, its key at hand."""
        self._authorities.look_again()
        with self._units.read() as uow:
            return self._service.get(uow, intermediate_id)

    def _root(
        self,
        issuer_id: str,
        body: CreateIntermediate,
        root_cert_pem: str,
        actor: Actor,
        request_id: str,
    ) -> NewNode:
        certificate = read_certificates(root_cert_pem)[0]
        with self._units.read(actor, request_id=request_id) as uow:
            self._service.plan_root(uow, issuer_id, body.name, certificate)
        place = None
        if body.key_driver_id is not None:
            place, key = self._existing(issuer_id, body.key_driver_id)
            if ca_key_id(key.public_key()) != key_id(certificate):
                raise CertificateOfOtherKey(reason="it is not the one of key_driver_id")
        else:
            known = self._known(issuer_id, key_id(certificate))
            if known is not None and known.key_ref is not None:
                place = KeyPlace(signer=known.signer, ref=known.key_ref)
        return NewNode(
            name=body.name,
            parent_ca_id=None,
            key=place,
            ca_key_id=key_id(certificate),
            certificate=certificate,
            ocsp_responder_url=_text(body.ocsp_responder_url),
            metadata=dict(body.metadata),
        )

    def _child(
        self,
        issuer_id: str,
        body: CreateIntermediate,
        parent_ca_id: str,
        actor: Actor,
        request_id: str,
    ) -> NewNode:
        wish = body.wish()
        with self._units.read(actor, request_id=request_id) as uow:
            plan = self._service.plan_child(uow, issuer_id, body.name, parent_ca_id, wish)
            config = self._service.local_config(uow, issuer_id)
        # The parent first: without it no key is made (HIER-5).
        signs = None
        if plan.parent.key_driver_id is not None and not body.csr_only:
            signs = self._authorities.certifying_key(issuer_id, plan.parent.ca_key_id)
        place, key = self._key(issuer_id, body, config)
        new = NewNode(
            name=body.name,
            parent_ca_id=parent_ca_id,
            key=place,
            ca_key_id=ca_key_id(key.public_key()),
            subject=plan.subject.rfc4514_string(),
            path_length=plan.path_length,
            constraints=plan.constraints,
            ocsp_responder_url=_text(body.ocsp_responder_url),
            metadata=dict(body.metadata),
        )
        return (
            _with_request(new, plan, key) if signs is None else self._signed(new, plan, key, signs)
        )

    def _signed(self, new: NewNode, plan: CAPlan, key: SigningKey, parent: AuthorityKey) -> NewNode:
        """The certificate that the parent signs, checked before it is stored (HIER-4, HIER-7)."""
        certificate = build_sub_ca(
            plan.subject,
            public_key=key.public_key(),
            issuer=parent.certificate,
            key=parent.key,
            serial=self._authorities.new_serial(),
            not_before=plan.not_before,
            not_after=plan.not_after,
            path_length=plan.path_length,
            name_constraints=plan.constraints,
            crl_urls=parent.urls.crl,
            ocsp_urls=parent.urls.ocsp,
            ca_issuer_urls=parent.urls.ca_issuers,
        )
        try:
            chain.verify_issued(certificate, plan.path[0])
            chain.verify_path(certificate, plan.path[:-1], plan.path[-1:], self._units.clock.now())
        except PKIError as error:
            _log.error("sub_ca.self_check_failed", parent_ca_id=plan.parent.id, reason=error.detail)
            raise SelfCheckFailed from error
        return replace(new, certificate=certificate, path=plan.path)

    def _key(
        self, issuer_id: str, body: CreateIntermediate, config: LocalConfig
    ) -> tuple[KeyPlace, SigningKey]:
        if body.key_driver_id is not None:
            return self._existing(issuer_id, body.key_driver_id)
        made = self._authorities.members.generate(issuer_id, config, body.algorithm)
        return KeyPlace(signer=made.signer, ref=made.ref), made.key

    def _existing(self, issuer_id: str, text: str) -> tuple[KeyPlace, SigningKey]:
        """A key that is there already: one of the issuer's by its id, or a signer's."""
        if not _KEY_ID.fullmatch(text):
            place = KeyPlace.of(text)
            try:
                return place, self._authorities.members.load(place.signer, place.ref)
            except CAMaterialError as error:
                raise CAKeyRefused(reason=error.detail.rstrip(".")) from error
        known = self._known(issuer_id, text.lower())
        if known is None or known.key_ref is None:
            raise CAKeyInUse(ca_key_id=text, reason="the issuer has no such key")
        return KeyPlace(signer=known.signer, ref=known.key_ref), known.key

    def _known(self, issuer_id: str, wanted: str) -> AuthorityKey | None:
        for key in self._authorities.authority_keys(issuer_id):
            if key.ca_key_id != wanted:
                continue
            if key.state in _LOST:
                raise CAKeyInUse(ca_key_id=wanted, reason=f"it is {key.state}")
            return key
        return None


def _with_request(new: NewNode, plan: CAPlan, key: SigningKey) -> NewNode:
    """The request that another CA signs."""
    csr_pem = build_ca_request(
        plan.subject, key, path_length=plan.path_length, name_constraints=plan.constraints
    )
    return replace(new, csr_pem=csr_pem)


def _text(url: object) -> str | None:
    return None if url is None else str(url)
