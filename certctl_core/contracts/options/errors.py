"""Refusals of a configuration."""

from __future__ import annotations

from certctl_core.kernel.errors import Invalid, Unprocessable


class ConfigInvalid(Invalid):
    """A configuration does not fit its model; ``fields`` says where, never with the value."""

    code = "validation_error"
    text = "The configuration is not valid."


class SecretNeedsReentry(Unprocessable):
    """A stored secret would be sent to a host it was not saved with; ``fields`` names them."""

    code = "reenter_secret"
    text = "The host has changed, so the stored secrets have to be entered again."
