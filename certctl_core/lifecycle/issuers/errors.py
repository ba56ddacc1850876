"""What can go wrong with a configured issuer."""

from __future__ import annotations

from certctl_core.kernel.errors import (
    Conflict,
    Invalid,
    NotFound,
    NotSupported,
    PreconditionFailed,
    Unavailable,
    Unprocessable,
)


class IssuerNotFound(NotFound):
    """There is no issuer of that id; data: ``issuer_id``."""

    code = "issuer_not_found"
    text = "There is no issuer {issuer_id}."


class UnknownIssuerKind(Invalid):
    """No installed plugin has that kind or alias; data: ``kind``."""

    code = "unknown_issuer_kind"
    text = "There is no issuer kind '{kind}'."
    hint = "GET /issuer-types lists the kinds that are installed."


class IssuerKindNotFound(NotFound):
    """The catalogue has no such kind; data: ``kind``."""

    code = "issuer_kind_not_found"
    text = "There is no issuer kind '{kind}'."


class IssuerKindUnavailable(Unprocessable):
    """The plugin is installed and cannot be loaded; data: ``kind``, ``reason``."""

    code = "issuer_kind_unavailable"
    text = "Issuers of kind '{kind}' cannot be used here: {reason}."


class IssuerNameTaken(Conflict):
    """Another issuer has the name; data: ``name``."""

    code = "name_taken"
    text = "There is already an issuer named '{name}'."


class IssuerIdTaken(Conflict):
    """Another issuer has the id; data: ``issuer_id``."""

    code = "id_taken"
    text = "There is already an issuer {issuer_id}."


class IssuerManagedElsewhere(Conflict):
    """The row comes from the environment or a file; data: ``issuer_id``, ``source``."""

    code = "managed_elsewhere"
    text = "Issuer {issuer_id} is managed by its {source} and cannot be changed here."
    hint = "Change it where it is declared, then restart."


class IssuerInUse(Conflict):
    """Something still refers to the issuer; member ``counts`` says what and how often."""

    code = "in_use"
    text = "Issuer {issuer_id} is in use."
    hint = "Move what uses it to another issuer, or disable it."
    members = ("counts",)


class IssuerChanged(PreconditionFailed):
    """Somebody else changed the issuer first; data: ``issuer_id``."""

    text = "Issuer {issuer_id} has changed since you read it."


class ConnectionTestFailed(Unprocessable):
    """The test that was asked for failed, nothing was saved; member ``report``."""

    code = "connection_test_failed"
    text = "The connection test failed; nothing was saved."
    members = ("report",)


class IssuerCannotStart(Unprocessable):
    """The configuration is valid in form, and the issuer still cannot be built from it."""

    code = "issuer_cannot_start"
    text = "The issuer cannot start with this configuration: {reason}"


class IssuerUnavailable(Unavailable):
    """The stored issuer cannot be loaded here; data: ``issuer_id``, ``reason``."""

    code = "issuer_unavailable"
    text = "Issuer {issuer_id} is unavailable: {reason}."


class IssuerDisabled(Conflict):
    """The issuer takes no orders; data: ``issuer_id``."""

    code = "issuer_disabled"
    text = "Issuer {issuer_id} is disabled."
    hint = "Enable it, or choose another issuer."


class UnsupportedByIssuer(NotSupported):
    """This kind of issuer cannot do that; data: ``issuer_id``, ``capability``."""

    code = "unsupported_by_issuer"
    text = "Issuer {issuer_id} does not support {capability}."
