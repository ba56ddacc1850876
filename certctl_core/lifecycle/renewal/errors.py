"""Failures of the renewal room."""

from __future__ import annotations

from certctl_core.kernel.errors import Conflict


class NoKeyHolder(Conflict):
    """No agent holds a key for this certificate, so nobody could make a CSR."""

    code = "no_key_holder"
    text = "No agent holds the key of {certificate_id}; a renewal needs a CSR."
    hint = "Send a CSR of its key, or link the certificate to a deployment target."


class RenewalInProgress(Conflict):
    """A renewal is under way; ``force`` replaces it."""

    code = "renewal_in_progress"
    text = "The certificate {certificate_id} is being renewed already."
    hint = "Wait for it, or repeat with force to start over."
