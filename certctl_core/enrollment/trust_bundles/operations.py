"""The use cases of the trust-bundles room, as data."""

from __future__ import annotations

from certctl_core.enrollment.trust_bundles.errors import TrustBundleError, TrustBundleNotFound
from certctl_core.enrollment.trust_bundles.schemas import TrustBundlesView, TrustReloadedView
from certctl_core.enrollment.trust_bundles.service import TrustBundles
from certctl_core.enrollment.trust_bundles.workflow import TrustReloads
from certctl_core.kernel.operations import Operation, Transaction


def operations(*, service: TrustBundles, workflow: TrustReloads) -> tuple[Operation, ...]:
    """Declare show and reload."""
    return (
        Operation(
            name="trust_bundles.show",
            method="GET",
            path="/admin/trust-bundles",
            summary="Show the trust bundles and their certificates",
            permission="issuer.read",
            output=TrustBundlesView,
            transaction=Transaction.READ,
            run=lambda _call: service.show(),
            tags=("admin",),
        ),
        Operation(
            name="trust_bundles.reload",
            method="POST",
            path="/admin/trust-bundles/{name}/reload",
            summary="Read a trust bundle again",
            permission="issuer.edit",
            output=TrustReloadedView,
            errors=(TrustBundleNotFound, TrustBundleError),
            transaction=Transaction.NONE,
            run=lambda call: workflow.reload(
                call.path["name"], actor=call.actor, request_id=call.request_id
            ),
            tags=("admin",),
        ),
    )
