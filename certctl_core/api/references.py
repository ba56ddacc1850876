"""An id in a body that leads nowhere is a bad field, not a missing path (spec 01 API-07)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel

from certctl_core.api.errors import BadFields
from certctl_core.kernel.errors import CertctlError, FieldError, NotFound
from certctl_core.kernel.operations import Call


@contextmanager
def blamed_on_body(call: Call) -> Iterator[None]:
    """A block in which a missing object that only the body names is a fault of the body.

    Raises:
        BadFields: Instead of ``NotFound``, naming the members that hold the unknown id.
    """
    try:
        yield
    except NotFound as error:
        told = _as_told(error, call)
        if told is error:
            raise
        raise told from error


def _as_told(error: NotFound, call: Call) -> CertctlError:
    if call.body is None:
        return error
    unknown = {value for value in error.data.values() if isinstance(value, str)}
    if not unknown.isdisjoint(call.path.values()):
        return error
    fields = [
        FieldError(field=field, message=error.detail)
        for field, value in _texts(call.body)
        if value in unknown
    ]
    return BadFields(count=len(fields), fields=fields) if fields else error


def _texts(body: BaseModel) -> Iterator[tuple[str, str]]:
    """The texts of a body and of its lists, with the names that the caller used."""
    for name, value in body:
        shown = type(body).model_fields[name].alias or name
        if isinstance(value, str):
            yield shown, value
        elif isinstance(value, (list, tuple)):
            for number, item in enumerate(value):
                if isinstance(item, str):
                    yield f"{shown}.{number}", item
