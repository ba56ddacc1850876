"""Trust bundles: files of CA certificates that are read again while everything runs (04 TB-*)."""

from certctl_core.enrollment.trust_bundles.errors import (
    BundleEmpty,
    BundleExpired,
    BundleMissing,
    BundleNotReadable,
    BundlePathEmpty,
    BundleTooLarge,
    BundleUnparsable,
    TrustBundleError,
    TrustBundleNotFound,
)
from certctl_core.enrollment.trust_bundles.events import (
    TrustBundleReloaded,
    TrustBundleReloadFailed,
)
from certctl_core.enrollment.trust_bundles.holder import TrustHolder, load_bundle
from certctl_core.enrollment.trust_bundles.service import TrustBundles
from certctl_core.enrollment.trust_bundles.types import TrustAnchor, TrustSnapshot
from certctl_core.enrollment.trust_bundles.workflow import TrustReloads

__all__ = [
    "BundleEmpty",
    "BundleExpired",
    "BundleMissing",
    "BundleNotReadable",
    "BundlePathEmpty",
    "BundleTooLarge",
    "BundleUnparsable",
    "TrustAnchor",
    "TrustBundleError",
    "TrustBundleNotFound",
    "TrustBundleReloadFailed",
    "TrustBundleReloaded",
    "TrustBundles",
    "TrustHolder",
    "TrustReloads",
    "TrustSnapshot",
    "load_bundle",
]
