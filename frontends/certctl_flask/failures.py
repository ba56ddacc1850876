"""What went wrong in a route, typed; what is our own fault stands in the log."""

from __future__ import annotations

import structlog
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WerkzeugMethodNotAllowed
from werkzeug.exceptions import NotFound as WerkzeugNotFound

from certctl_core.api.problems import typed_error
from certctl_core.kernel.errors import (
    CertctlError,
    ErrorKind,
    Invalid,
    MethodNotAllowed,
    NotFound,
)
from certctl_flask.edge import Context

_log = structlog.get_logger("certctl.http")


def noted(error: Exception, context: Context) -> CertctlError:
    """The error of our tree that stands for ``error``; an internal one is logged with its trace."""
    typed = _typed(error)
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
