"""Failures of the bulk-revocation room."""

from __future__ import annotations

from certctl_core.kernel.errors import Conflict


class CountMismatch(Conflict):
    """Other certificates match than the caller has seen; nothing was revoked."""

    code = "expected_count_mismatch"
    text = "{total_matched} certificate(s) match, not {expected_count}; nothing was revoked."
    hint = "Look at a dry run again, then repeat the request with its total_matched."
    members = ("total_matched", "expected_count")
