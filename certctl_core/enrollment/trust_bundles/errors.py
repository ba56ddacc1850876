"""Failures of the trust-bundles room; the codes are those of 04 TB-5."""

from __future__ import annotations

from typing import ClassVar

from certctl_core.kernel.errors import NotFound, Unprocessable

_HINT = "Mend the file and reload; until then the certificates of before stay in force."


class TrustBundleNotFound(NotFound):
    """No trust bundle has this name."""

    code = "trust_bundle_not_found"
    text = "There is no trust bundle {name!r}."
    hint = "'certctl trust list' shows the trust bundles."


class TrustBundleError(Unprocessable):
    """A file cannot be a trust bundle."""

    code = "trust_bundle_error"
    text = "The trust bundle {path} cannot be used."
    hint = _HINT
    members: ClassVar[tuple[str, ...]] = ("path",)


class BundlePathEmpty(TrustBundleError):
    """No path is configured."""

    code = "path_empty"
    text = "The trust bundle {name!r} has no path."
    members = ()


class BundleMissing(TrustBundleError):
    """There is no file."""

    code = "file_missing"
    text = "The trust bundle {path} does not exist."


class BundleNotReadable(TrustBundleError):
    """The file cannot be read."""

    code = "permission_denied"
    text = "The trust bundle {path} cannot be read: {reason}."


class BundleTooLarge(TrustBundleError):
    """The file is larger than 1 MiB."""

    code = "too_large"
    text = "The trust bundle {path} is larger than 1 MiB."


class BundleUnparsable(TrustBundleError):
    """A certificate in the file cannot be read; data: ``block``, counted from 1."""

    code = "parse_error"
    text = "Certificate {block} of the trust bundle {path} cannot be read."
    members = ("path", "block")


class BundleEmpty(TrustBundleError):
    """The file holds no certificate."""

    code = "empty_bundle"
    text = "The trust bundle {path} holds no certificate."


class BundleExpired(TrustBundleError):
    """A certificate in the file has expired; data: ``subject``, ``not_after``."""

    code = "expired_cert"
    text = "The trust bundle {path} holds {subject}, which expired on {not_after}."
    members = ("path", "subject", "not_after")
