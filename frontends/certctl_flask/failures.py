"""What went wrong in a route, typed; what is our own fault stands in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WerkzeugMethodNotAllowed
from werkzeug.exceptions import NotFound as WerkzeugNotFound

from certctl_core.api.problems import typed_error
from certctl_core.kernel.actors import ANONYMOUS
from certctl_core.kernel.errors import (
    CertctlError,
    ErrorKind,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
)
from certctl_core.people.access import Denials
from certctl_flask.edge import context_of

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

_log = structlog.get_logger("certctl.http")


def noted(error: Exception, environ: WSGIEnvironment, denials: Denials) -> CertctlError:
    """The error of our tree that stands for ``error``.

    An internal one is logged with its trace; a refusal is recorded in the audit log.
    """
    typed, context = _typed(error), context_of(environ)
    if isinstance(typed, Forbidden) and context.actor is not ANONYMOUS:
        asked = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        denials.note(context.actor, typed, operation=asked, request_id=context.request_id)
    if typed.kind is ErrorKind.INTERNAL:
        _log.error(
            "http.failed",
            request_id=context.request_id,
            code=typed.code,
            exc_info=error,
            **typed.log,
        )
    return typed


def _typed(error: Exception) -> CertctlError:
    if isinstance(error, WerkzeugMethodNotAllowed):
        allow = ", ".join(sorted(error.valid_methods or ()))
        return MethodNotAllowed(allow=allow)
    if isinstance(error, WerkzeugNotFound):
        return NotFound()
    if isinstance(error, HTTPException):
        return Invalid()
    return typed_error(error)
