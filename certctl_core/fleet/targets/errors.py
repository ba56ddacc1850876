"""Failures of the targets room."""

from __future__ import annotations

from certctl_core.kernel.errors import (
    Conflict,
    Invalid,
    NotFound,
    Unavailable,
    Unprocessable,
)


class TargetNotFound(NotFound):
    """No target has this id."""

    code = "target_not_found"
    text = "There is no target {target_id}."
    hint = "'certctl targets list' shows the targets."


class UnknownTargetKind(Invalid):
    """No installed plugin has that kind or alias."""

    code = "unknown_target_kind"
    text = "There is no target kind '{kind}'."
    hint = "GET /target-types lists the kinds that are installed."


class TargetNameTaken(Conflict):
    """The agent has a target of this name, or the id exists."""

    code = "target_name_taken"
    text = "The agent has a target of this name already, or the id is taken."


class TargetInUse(Conflict):
    """Certificates are linked to the target."""

    code = "target_in_use"
    text = "The target is linked to {certificates} certificate(s)."
    hint = "Unlink them first, or delete it with force."
    members = ("certificates",)


class TargetUnusable(Conflict):
    """The target is retired: it never gets a job again."""

    code = "target_retired"
    text = "The target {target_id} is retired."


class TargetSecretsUnreadable(Unavailable):
    """A stored secret of the target cannot be decrypted."""

    code = "target_secrets_unreadable"
    text = "The secrets of the target {target_id} cannot be decrypted ({reason})."
    hint = "Add the old encryption key to the keyring, or enter the secrets again."


class SingleHolder(Unprocessable):
    """The certificate's key may lie on one agent only (KEY-02)."""

    code = "single_holder"
    text = "The key of {certificate_id} may lie on one agent only, and another has it."
    hint = "Choose a target of that agent, or set key_scope to per_agent."


class TargetNotLinked(NotFound):
    """The certificate and the target are not linked."""

    code = "target_not_linked"
    text = "The certificate {certificate_id} is not linked to the target {target_id}."
