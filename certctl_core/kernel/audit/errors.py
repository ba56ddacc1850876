"""Failures of the audit log."""

from __future__ import annotations

from certctl_core.kernel.errors import Conflict, Internal, Invalid, NotFound, RateLimited


class AuditEventNotFound(NotFound):
    """No audit event has this id."""

    code = "audit_event_not_found"
    text = "There is no audit event {event_id}."


class AuditEventNotSealed(Conflict):
    """The event is committed but has no leaf yet."""

    code = "audit_event_not_sealed"
    text = "The audit event {event_id} is not sealed yet."
    hint = "Ask again in two seconds."


class AuditLogEmpty(NotFound):
    """Nothing has been sealed yet, so there is no checkpoint."""

    code = "audit_log_empty"
    text = "The audit log has no checkpoint yet."
    hint = "The first one is written within two seconds of the first event."


class BadTreeRange(Invalid):
    """A consistency proof was asked for sizes that the log does not have."""

    code = "bad_tree_range"
    text = "A consistency proof needs 0 < from <= to <= {tree_size}."


class BadTimeRange(Invalid):
    """The end of a time range is not after its start, or the range is too long."""

    code = "bad_time_range"
    text = "The time range is not valid: {reason}."


class VerifiedJustNow(RateLimited):
    """The log was verified less than a minute ago."""

    code = "verified_just_now"
    text = "The log was verified less than a minute ago."
    hint = "Ask again in a minute; on the server, 'certctl audit verify --local' does it at once."


class SealerFenced(Conflict):
    """Another sealer has taken over; nothing was written."""

    code = "sealer_fenced"
    text = "Another process seals the audit log now."


class AuditLogBroken(Internal):
    """The stored log contradicts its own checkpoints; nothing is written on top of it."""

    code = "audit_log_broken"
    text = "The audit log does not match its checkpoints."
    hint = "Run 'certctl audit verify' and compare with the newest checkpoint kept elsewhere."


class BadNote(Invalid):
    """A signed note is malformed or its signature is wrong."""

    code = "bad_note"
    text = "The checkpoint is not valid: {reason}."


class BadExport(Invalid):
    """An exported file does not lead to its checkpoint."""

    code = "bad_audit_export"
    text = "The export does not verify: {reason}."
    members = ("line", "seq")


class AuditKeyUnusable(Internal):
    """The key of the log cannot be used; data: ``reason``."""

    code = "audit_key_unusable"
    text = "The key of the audit log cannot be used: {reason}."
    hint = "Look at CERTCTL_SIGNER_AUDIT and CERTCTL_AUDIT_KEY; see the page about keys and tokens."
