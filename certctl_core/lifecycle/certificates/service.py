"""Managed certificates and their versions: the inventory and its state machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.kernel.db import Uow, paginate, recipe
from certctl_core.kernel.errors import PreconditionFailed
from certctl_core.kernel.ids import Prefix, parse_id
from certctl_core.kernel.operations import Page, Resource
from certctl_core.lifecycle.certificates import _store
from certctl_core.lifecycle.certificates._tables import (
    certificate_versions as versions,
)
from certctl_core.lifecycle.certificates._tables import (
    managed_certificates as certificates,
)
from certctl_core.lifecycle.certificates.errors import (
    CertificateNameTaken,
    NoVersionYet,
    VersionAlreadyStored,
    VersionNotFound,
    WrongState,
)
from certctl_core.lifecycle.certificates.events import (
    CertificateArchived,
    CertificateCreated,
    CertificateIssued,
    CertificateUpdated,
    RenewalSucceeded,
)
from certctl_core.lifecycle.certificates.rules import parse_names
from certctl_core.lifecycle.certificates.schemas import (
    CertificateBody,
    CertificateQuery,
    CertificateView,
    CreateCertificate,
    VersionQuery,
    VersionView,
)
from certctl_core.lifecycle.certificates.states import CertificateStates
from certctl_core.lifecycle.certificates.types import (
    Source,
    Status,
    sources_of,
)
from certctl_core.lifecycle.policies import RenewalPolicyService, renew_at
from certctl_core.lifecycle.profiles import ProfileService
from certctl_core.values import dataclass

SORTS = tuple(_store.SORTS)
"""Sort fields of the certificate list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedVersion:
    """What the issuance choke point stores: everything derived from the verified leaf.

    Attributes:
        cert_der: The leaf.
        chain_pem: Its chain, issuing CA first, without a self-signed root.
        serial_number: Canonical hex.
        key_algorithm / key_size: Of the leaf's public key (``RSA`` 2048, ``ECDSA`` 256 …).
        ca_key_id: Key id of the signing CA, or None when the chain does not tell.
    """

    cert_der: bytes
    chain_pem: str
    serial_number: str
    not_before: datetime
    not_after: datetime
    fingerprint_sha256: str
    spki_sha256: str
    key_algorithm: str
    key_size: int
    issuer_id: str
    ca_key_id: str | None
    csr_pem: str | None = None
    agent_id: str | None = None
    job_id: str | None = None
    order_id: str | None = None
    vendor_ref: dict[str, Any] | None = field(default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftCertificate:
    """A managed certificate that is checked and not stored yet.

    Attributes:
        view: As it will be shown.
        row: Its row, without what only an issued certificate has.
        is_named: The client has chosen its name or id.
    """

    view: CertificateView
    row: dict[str, Any]
    is_named: bool

    def renamed(self, name: str) -> DraftCertificate:
        """The same under another name."""
        text = _store.search_text(name, self.view.common_name, self.view.sans)
        return DraftCertificate(
            view=self.view.model_copy(update={"name": name}),
            row={**self.row, "name": name, "search_text": text},
            is_named=self.is_named,
        )


class CertificateService(CertificateStates):
    """The inventory. Names, states and dates are checked here; issuance decides elsewhere."""

    def __init__(self, *, policies: RenewalPolicyService, profiles: ProfileService) -> None:
        super().__init__(policies=policies)
        self._on_archive: list[Callable[[Uow, str], None]] = []
        profiles.add_usage_counter(_counter(certificates.c.certificate_profile_id))
        policies.add_usage_counter(_counter(certificates.c.renewal_policy_id))

    def on_archive(self, action: Callable[[Uow, str], None]) -> None:
        """A room with open work on certificates stops it when one is archived."""
        self._on_archive.append(action)

    def count_of_issuer(self, uow: Uow, issuer_id: str) -> int:
        """How many certificates are bound to an issuer (deletion guard)."""
        return _counter(certificates.c.issuer_id)(uow, issuer_id)

    def resource(self, uow: Uow, certificate_id: str) -> Resource:
        """The scopes of a certificate for the access decision.

        Raises:
            CertificateNotFound: No such id.
        """
        view = self.get(uow, certificate_id)
        return Resource(profile_id=view.certificate_profile_id, issuer_id=view.issuer_id)

    def page(
        self,
        uow: Uow,
        query: CertificateQuery,
        *,
        scopes: list[Resource] | None = None,
    ) -> Page[CertificateView]:
        """A page of certificates; archived ones only when asked for."""
        total = _store.TOTAL if scopes is None and not _is_filtered(query) else None
        return paginate(
            uow,
            recipe(
                _store.selection, query, scopes, uow.now if query.spki_sha256 is not None else None
            ),
            query=query,
            sorts=_store.SORTS,
            id_column=certificates.c.id,
            view=_store.certificate_view,
            total=total,
        )

    def create(
        self, uow: Uow, body: CreateCertificate, *, issuer_id: str, source: Source = Source.API
    ) -> CertificateView:
        """Record a managed certificate in state Pending; emits ``certificate.created``.

        The caller has checked that issuer, profile and policy exist and may be used.

        Raises:
            Invalid: The chosen id is not an id.
            BadName: A name is not usable.
            CertificateNameTaken: Name or id exists; comes with the flush.
        """
        now, made_up = uow.now, uow.new_id(Prefix.CERTIFICATE)
        draft = self.draft(body, made_up, issuer_id=issuer_id, source=source, now=now)
        self.add_draft(uow, draft)
        return draft.view

    def draft(
        self,
        body: CreateCertificate,
        made_up: str,
        *,
        issuer_id: str,
        source: Source,
        now: datetime,
    ) -> DraftCertificate:
        """Check what ``create`` would store, and store nothing.

        Args:
            body: What is asked for.
            made_up: The id where the body has none.
            issuer_id: Its issuer; the caller has checked it.
            source: Where it comes from.
            now: The time of its creation.

        Raises:
            Invalid, BadName: As of ``create``.
        """
        common_name = body.common_name or ""
        parse_names(common_name, body.sans)
        name = body.name or common_name
        row = {
            "id": parse_id(body.id) if body.id else made_up,
            "name": name,
            "common_name": common_name,
            "sans": body.sans,
            "status": Status.PENDING,
            "issuer_id": issuer_id,
            "certificate_profile_id": body.certificate_profile_id,
            "renewal_policy_id": body.renewal_policy_id,
            "environment": body.environment,
            "tags": body.tags,
            "source": source,
            "key_scope": body.key_scope,
            "managed_renewal": body.managed_renewal,
            "search_text": _store.search_text(name, common_name, body.sans),
            "version": 1,
            "created_at": now,
            "updated_at": now,
        }
        return DraftCertificate(
            view=_store.new_certificate_view(row),
            row=row,
            is_named=body.name is not None or body.id is not None,
        )

    def add_draft(self, uow: Uow, draft: DraftCertificate) -> None:
        """Store a draft as it is; emits ``certificate.created``.

        Raises:
            CertificateNameTaken: As of ``create``.
        """
        uow.add(certificates, draft.row, taken=CertificateNameTaken)
        self._entered(uow, draft.view, Status.PENDING)

    def add_issued(
        self, uow: Uow, draft: DraftCertificate, issued: IssuedVersion
    ) -> tuple[CertificateView, VersionView]:
        """Store a draft together with its first version, in state Active.

        Emits ``certificate.created`` and ``certificate.issued``.

        Raises:
            CertificateNameTaken, VersionAlreadyStored: With the flush.
        """
        view = draft.view
        version_id = uow.new_id(Prefix.VERSION)
        changed = {
            "status": Status.ACTIVE,
            "expires_at": issued.not_after,
            "next_renewal_at": self._planned(uow, view, issued),
            "current_version_id": version_id,
        }
        text = f"{draft.row['search_text']} {issued.serial_number} {issued.fingerprint_sha256}"
        row = {**draft.row, **changed, "search_text": text}
        uow.add(certificates, row, taken=CertificateNameTaken)
        self._entered(uow, view, Status.ACTIVE)
        updated = view.model_copy(update=changed)
        return updated, self._add_version(uow, updated, version_id, issued, renewal=False)

    def _entered(self, uow: Uow, view: CertificateView, status: Status) -> None:
        uow.count(f"certificates.status.{status}", 1)
        uow.touch("certificates")
        uow.emit(
            CertificateCreated(
                resource_id=view.id,
                common_name=view.common_name,
                issuer_id=view.issuer_id,
                source=view.source,
            )
        )

    def _planned(self, uow: Uow, view: CertificateView, issued: IssuedVersion) -> datetime | None:
        if not view.managed_renewal:
            return None
        policy = self._policies.resolve(uow, view.renewal_policy_id)
        return renew_at(issued.not_before, issued.not_after, policy, seed=view.id)

    def update(
        self,
        uow: Uow,
        certificate_id: str,
        body: CertificateBody,
        *,
        issuer_id: str,
        if_match: int | None = None,
    ) -> CertificateView:
        """Replace the mutable part; emits ``certificate.updated`` with a field diff.

        Raises:
            CertificateNotFound, PreconditionFailed, BadName, CertificateNameTaken: As named.
            WrongState: It is archived.
        """
        self.lock(uow, certificate_id)
        before = self.get(uow, certificate_id)
        if if_match is not None and before.version != if_match:
            raise PreconditionFailed
        if before.status is Status.ARCHIVED:
            raise WrongState(certificate_status=before.status.value, wanted="edited")
        parse_names(body.common_name, body.sans)
        name = body.name or before.name
        c = certificates.c
        if uow.scalar(sa.select(c.id).where(c.name == name, c.id != certificate_id)) is not None:
            raise CertificateNameTaken
        values = body.model_dump(include=set(CertificateBody.model_fields)) | {
            "name": name,
            "issuer_id": issuer_id,
        }
        values["search_text"] = _store.search_text(
            name, body.common_name, body.sans, *self._marks(uow, before.current_version_id)
        )
        try:
            row = uow.first(
                sa.update(certificates)
                .where(c.id == certificate_id)
                .values(version=c.version + 1, updated_at=uow.now, **values)
                .returning(*_store.LISTED)
            )
        except sa.exc.IntegrityError as error:  # two writers, one name
            raise CertificateNameTaken from error
        assert row is not None  # noqa: S101 - it was locked above
        old = before.model_dump(include=set(values))
        changes = {key: [was, values[key]] for key, was in old.items() if was != values[key]}
        if changes:
            uow.emit(CertificateUpdated(resource_id=certificate_id, changes=changes))
        uow.touch("certificates")
        if {"renewal_policy_id", "managed_renewal"} & changes.keys():
            self.replan(uow, certificate_id)
            return self.get(uow, certificate_id)
        return _store.certificate_view(row)

    def _marks(self, uow: Uow, version_id: str | None) -> tuple[str, ...]:
        """Serial and fingerprint of a version: what ``q`` finds beside the names."""
        row = uow.first(
            sa.select(versions.c.serial_number, versions.c.fingerprint_sha256).where(
                versions.c.id == version_id
            )
        )
        return () if row is None else (row.serial_number, row.fingerprint_sha256)

    def archive(self, uow: Uow, certificate_id: str) -> None:
        """Hide a certificate and stop its open work; emits ``certificate.archived``.

        Raises:
            CertificateNotFound: No such id.
            WrongState: It is archived already.
        """
        view = self.swap_status(uow, certificate_id, Status.ARCHIVED, next_renewal_at=None)
        for action in self._on_archive:
            action(uow, certificate_id)
        uow.emit(CertificateArchived(resource_id=certificate_id, common_name=view.common_name))

    def add_version(
        self, uow: Uow, certificate_id: str, issued: IssuedVersion, *, view: CertificateView
    ) -> tuple[CertificateView, VersionView]:
        """Store a version, make it current, move the certificate to Active, plan its renewal.

        Emits ``certificate.issued`` and, when it replaces an older one, ``renewal.succeeded``.

        Args:
            uow: The open unit of work.
            certificate_id: Whose version.
            issued: The verified result of an issuer.
            view: The certificate as the caller knows it (policy, profile, current version).

        Raises:
            WrongState: The certificate was revoked or archived meanwhile: nothing is stored.
            VersionAlreadyStored: With the flush: this very certificate is stored already.
        """
        version_id = uow.new_id(Prefix.VERSION)
        renewal = view.current_version_id is not None
        updated = self.swap_known(
            uow,
            view,
            Status.ACTIVE,
            sources=tuple(s for s in sources_of(Status.ACTIVE) if s is not Status.REVOKED),
            search_text=_store.search_text(
                view.name,
                view.common_name,
                view.sans,
                issued.serial_number,
                issued.fingerprint_sha256,
            ),
            expires_at=issued.not_after,
            next_renewal_at=self._planned(uow, view, issued),
            current_version_id=version_id,
            last_error=None,
            last_renewal_at=uow.now if renewal else view.last_renewal_at,
        )
        if renewal:
            self._retire_current(uow, certificate_id, issued.agent_id)
        return updated, self._add_version(uow, updated, version_id, issued, renewal=renewal)

    def _add_version(
        self,
        uow: Uow,
        view: CertificateView,
        version_id: str,
        issued: IssuedVersion,
        *,
        renewal: bool,
    ) -> VersionView:
        row = {
            "id": version_id,
            "certificate_id": view.id,
            "is_current": True,
            "created_at": uow.now,
            **_columns(issued),
        }
        uow.add(versions, row, taken=VersionAlreadyStored)
        uow.emit(
            CertificateIssued(
                resource_id=view.id,
                version_id=version_id,
                serial_number=issued.serial_number,
                issuer_id=issued.issuer_id,
                ca_key_id=issued.ca_key_id,
                common_name=view.common_name,
                not_after=issued.not_after,
                renewal=renewal,
                agent_id=issued.agent_id,
            )
        )
        if renewal:
            uow.emit(
                RenewalSucceeded(
                    resource_id=view.id,
                    version_id=version_id,
                    serial_number=issued.serial_number,
                    not_after=issued.not_after,
                )
            )
        return _store.new_version_view(row)

    def _retire_current(self, uow: Uow, certificate_id: str, agent_id: str | None) -> None:
        same_holder = versions.c.agent_id == agent_id if agent_id else versions.c.agent_id.is_(None)
        uow.execute(
            sa.update(versions)
            .where(
                versions.c.certificate_id == certificate_id,
                versions.c.is_current.is_(True),
                same_holder,
            )
            .values(is_current=False)
        )

    def version_page(self, uow: Uow, certificate_id: str, query: VersionQuery) -> Page[VersionView]:
        """A page of versions, newest first.

        Raises:
            CertificateNotFound: No such certificate.
        """
        self.get(uow, certificate_id)
        return paginate(
            uow,
            _store.version_list(certificate_id),
            query=query,
            sorts={"created_at": versions.c.created_at, "not_after": versions.c.not_after},
            id_column=versions.c.id,
            view=_store.version_view,
        )

    def version(self, uow: Uow, certificate_id: str, version_id: str) -> VersionView:
        """One version of one certificate.

        Raises:
            VersionNotFound: The certificate has no such version.
        """
        row = uow.first(_store.version_list(certificate_id).where(versions.c.id == version_id))
        if row is None:
            raise VersionNotFound(certificate_id=certificate_id)
        return _store.version_view(row)

    def vendor_ref(self, uow: Uow, version_id: str) -> str:
        """How the issuer names a version; empty when it said nothing."""
        stored = uow.scalar(sa.select(versions.c.vendor_ref).where(versions.c.id == version_id))
        return str(stored["ref"]) if stored else ""

    def versions_to_revoke(
        self,
        uow: Uow,
        certificate_id: str,
        *,
        serial: str | None = None,
        all_unexpired: bool = False,
        same_key: bool = False,
        spki_sha256: str | None = None,
    ) -> list[VersionView]:
        """The versions that a revocation covers, newest first (spec 02 REV-1).

        Without an argument these are the current ones: one, or one an agent (01 VER-02).

        Args:
            uow: The open unit of work.
            certificate_id: Whose versions.
            serial: Only the one with this canonical serial.
            all_unexpired: Every version that is still valid; the current ones if none is.
            same_key: Limits ``all_unexpired`` to the public keys of the current versions.
            spki_sha256: Every version of this public key that is still valid, in use or not.

        Raises:
            NoVersionYet: It was never issued.
            VersionNotFound: No version has that serial.
        """
        statement = _store.version_list(certificate_id).order_by(
            versions.c.is_current.desc(), versions.c.created_at.desc(), versions.c.id.desc()
        )
        if serial is not None:
            row = uow.first(statement.where(versions.c.serial_number == serial))
            if row is None:
                raise VersionNotFound(certificate_id=certificate_id)
            return [_store.version_view(row)]
        if spki_sha256 is not None:
            statement = statement.where(
                versions.c.spki_sha256 == spki_sha256, versions.c.not_after > uow.now
            )
            return [_store.version_view(row) for row in uow.execute(statement)]
        current = uow.execute(statement.where(versions.c.is_current.is_(True))).all()
        if not current:
            raise NoVersionYet(certificate_id=certificate_id)
        rows: Sequence[Row[Any]] = current
        if all_unexpired:
            statement = statement.where(versions.c.not_after > uow.now)
            if same_key:
                keys = {row.spki_sha256 for row in current}
                statement = statement.where(versions.c.spki_sha256.in_(keys))
            rows = uow.execute(statement).all() or current
        return [_store.version_view(row) for row in rows]

    def mark_revoked(
        self, uow: Uow, certificate_id: str, version_ids: Sequence[str], *, reason: str
    ) -> CertificateView:
        """Stamp the versions, and move to Revoked when no current one is left (02 REV-2).

        The revocation room has the rows, and has locked the certificate.

        Raises:
            CertificateNotFound, WrongState: As of ``swap_status``.
        """
        v = versions.c
        uow.execute(
            sa.update(versions).where(v.id.in_(list(version_ids))).values(revoked_at=uow.now)
        )
        view = self.get(uow, certificate_id)
        left = sa.select(v.id).where(
            v.certificate_id == certificate_id, v.is_current.is_(True), v.revoked_at.is_(None)
        )
        is_settled = view.status in {Status.REVOKED, Status.ARCHIVED}
        if is_settled or uow.first(left.limit(1)) is not None:
            uow.touch("certificates")
            return view
        view = self.swap_status(
            uow,
            certificate_id,
            Status.REVOKED,
            revoked_at=uow.now,
            revocation_reason=reason,
            next_renewal_at=None,
        )
        for action in self._on_archive:
            action(uow, certificate_id)
        return view

    def note_deployment(self, uow: Uow, certificate_id: str) -> None:
        """Remember that a deployment of the certificate succeeded now."""
        uow.execute(
            sa.update(certificates)
            .where(certificates.c.id == certificate_id)
            .values(last_deployment_at=uow.now)
        )
        uow.touch("certificates")


_EXPIRY = frozenset({"expires_at", "expiresAt", "notAfter"})
_UNFILTERED = [
    (name, info.default)
    for name, info in CertificateQuery.model_fields.items()
    if name not in {"page", "per_page", "page_size", "cursor", "fields", "sort"}
]


def _is_filtered(query: CertificateQuery) -> bool:
    if any(getattr(query, name) != value for name, value in _UNFILTERED):
        return True
    return query.sort is not None and query.sort.removeprefix("-") in _EXPIRY


def _columns(issued: IssuedVersion) -> dict[str, Any]:
    return {name: getattr(issued, name) for name in IssuedVersion.__slots__}


def _counter(column: sa.ColumnElement[Any]) -> Callable[[Uow, str], int]:
    def count(uow: Uow, value: str) -> int:
        return int(
            uow.scalar(sa.select(sa.func.count()).select_from(certificates).where(column == value))
        )

    return count
