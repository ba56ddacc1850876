"""Failures of the issuance choke point."""

from __future__ import annotations

from certctl_core.kernel.errors import Conflict, Internal, Unprocessable


class CSRRejected(Unprocessable):
    """The CSR, its key or the names break a rule; ``reasons`` lists every one."""

    code = "csr_rejected"
    text = "The certificate request is refused: {summary}."
    members = ("reasons",)


class CommonNameMissing(Unprocessable):
    """Neither the request nor its CSR names anything."""

    code = "common_name_missing"
    text = "Neither the request nor the CSR carries a name."
    hint = "Send common_name, or a CSR with a subject alternative name."


class ApprovalRequired(Conflict):
    """The profile demands a second person, and nobody has approved this issuance."""

    code = "approval_required"
    text = "The profile {profile_id} requires an approval before anything is issued."
    hint = "Choose a profile without this rule, or switch it off."


class OrderInProgress(Conflict):
    """The same CSR is being issued for this certificate right now."""

    code = "order_in_progress"
    text = "This request is already being issued (order {order_id})."
    members = ("order_id",)


class IssuedCertificateRejected(Internal):
    """What the issuer returned is not what was asked for; it was not stored as a version."""

    code = "issued_certificate_rejected"
    error_class = "validation"
    text = "The issuer returned a certificate that was not asked for; it was not installed."
    hint = "The order keeps the certificate for inspection."


class IssuancePending(Conflict):
    """The issuer took the order and will answer later."""

    code = "issuance_pending"
    text = "The issuer has accepted the order {order_id} and will answer later."
    members = ("order_id",)


class OrderSettledElsewhere(Conflict):
    """Another process settled the order while its issuer worked; nothing was stored."""

    code = "order_settled_elsewhere"
    text = "The order {order_id} was settled by another process; its result was dropped."
    hint = "Send the request again."
    members = ("order_id",)
