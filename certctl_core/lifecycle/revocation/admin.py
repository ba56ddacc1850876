"""What operators see of CRLs, and what they can make happen (02 §17)."""

from __future__ import annotations

import sqlalchemy as sa

from certctl_core.kernel.actors import Actor
from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.lifecycle.authorities import AuthorityService, CAKeyState
from certctl_core.lifecycle.revocation._tables import (
    crl_cache,
    crl_generation_events,
)
from certctl_core.lifecycle.revocation.crl import CRLService
from certctl_core.lifecycle.revocation.errors import PKIIssuerNotFound
from certctl_core.lifecycle.revocation.events import CRLRegenerated
from certctl_core.lifecycle.revocation.schemas import (
    CRLCacheRow,
    CRLCacheView,
    CRLEventView,
    CRLPartView,
    RegeneratedView,
)
from certctl_core.lifecycle.revocation.types import COMPLETE, Trigger

_RECENT = 5


class PublishingAdmin:
    """The admin surface of CRLs."""

    def __init__(
        self,
        *,
        units: UnitOfWorkFactory,
        authorities: AuthorityService,
        crls: CRLService,
    ) -> None:
        self._units = units
        self._authorities = authorities
        self._crls = crls

    def crl_state(self, uow: Uow) -> CRLCacheView:
        """The CRL of every CA key with its last attempts."""
        rows = []
        for key in self._authorities.authority_keys():
            c, e = crl_cache.c, crl_generation_events.c
            in_force = self._crls.parts_in_force(uow, key)
            lists = uow.execute(
                sa.select(
                    c.part,
                    c.crl_number,
                    c.this_update,
                    c.next_update,
                    c.generated_at,
                    c.generation_duration_ms,
                    c.revoked_count,
                )
                .where(c.issuer_id == key.issuer_id, c.ca_key_id == key.ca_key_id)
                .order_by(c.part)
            ).all()
            row = next((found for found in lists if found.part == COMPLETE), None)
            events = uow.execute(
                sa.select(crl_generation_events)
                .where(e.issuer_id == key.issuer_id, e.ca_key_id == key.ca_key_id)
                .order_by(e.id.desc())
                .limit(_RECENT)
            ).all()
            rows.append(
                CRLCacheRow(
                    issuer_id=key.issuer_id,
                    ca_key_id=key.ca_key_id,
                    cache_present=row is not None,
                    crl_number=row.crl_number if row else None,
                    this_update=row.this_update if row else None,
                    next_update=row.next_update if row else None,
                    generated_at=row.generated_at if row else None,
                    generation_duration_ms=row.generation_duration_ms if row else None,
                    revoked_count=row.revoked_count if row else None,
                    is_stale=COMPLETE not in in_force,
                    parts=[
                        CRLPartView(
                            part=found.part,
                            crl_number=found.crl_number,
                            this_update=found.this_update,
                            next_update=found.next_update,
                            revoked_count=found.revoked_count,
                            is_stale=found.part not in in_force,
                        )
                        for found in lists
                        if found.part != COMPLETE
                    ],
                    recent_events=[
                        CRLEventView.model_validate(event, from_attributes=True) for event in events
                    ],
                )
            )
        return CRLCacheView(cache_rows=rows, row_count=len(rows), generated_at=uow.now)

    def regenerate(self, issuer_id: str, *, actor: Actor, request_id: str) -> RegeneratedView:
        """Generate the lists of every CA key of an issuer that may sign; emits ``crl.regenerated``.

        Raises:
            PKIIssuerNotFound: No CA of that name.
            CRLSigningForbidden, CRLUnavailable: As of ``CRLService.generate``.
        """
        numbers = {}
        for key in self._authorities.authority_keys(issuer_id):
            if key.state in {CAKeyState.COMPROMISED, CAKeyState.RETIRED}:
                continue
            stored = self._crls.generate(key, trigger=Trigger.MANUAL)
            numbers[key.ca_key_id] = stored.number
            with self._units.begin(actor, request_id=request_id) as uow:
                uow.emit(
                    CRLRegenerated(
                        resource_id=issuer_id, ca_key_id=key.ca_key_id, crl_number=stored.number
                    )
                )
        if not numbers:
            raise PKIIssuerNotFound
        return RegeneratedView(issuer_id=issuer_id, crl_numbers=numbers)
