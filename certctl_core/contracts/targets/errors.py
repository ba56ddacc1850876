"""Refusals of a bundle: what must never reach a server (spec 07 §9, PRECHECK)."""

from __future__ import annotations

from certctl_core.kernel.errors import Unprocessable


class BundleRejected(Unprocessable):
    """Base of the refusals of certificate, chain and key."""

    code = "bundle_rejected"
    text = "The certificate cannot be deployed."


class PairMismatch(BundleRejected):
    """The private key does not belong to the certificate."""

    code = "pair_mismatch"
    text = "The private key does not belong to the certificate."
    hint = "Renew the certificate on this host, so that key and certificate match again."


class BundleMalformed(BundleRejected):
    """Certificate, chain or key cannot be read; data: ``reason``."""

    code = "bundle_malformed"
    text = "Certificate, chain or key cannot be read: {reason}."


class BundleChainInvalid(BundleRejected):
    """The chain is out of order or a signature in it does not verify; data: ``position``."""

    code = "bundle_chain_invalid"
    text = "The chain does not fit: certificate {position} did not sign the one before it."


class BundleExpired(BundleRejected):
    """The certificate is no longer valid; data: ``not_after``."""

    code = "bundle_expired"
    text = "The certificate expired at {not_after}."


class BundleNamesMissing(BundleRejected):
    """The certificate lacks names that it is deployed for; data: ``names``."""

    code = "bundle_names_missing"
    text = "The certificate does not hold the names {names}."
