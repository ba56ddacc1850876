"""Objects by id, or by the name that a person gave them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from certctl_client.errors import APIError

if TYPE_CHECKING:
    from certctl_client import Client

_NOT_FOUND = 404
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def certificate_id(client: Client, text: str) -> str:
    """The id of the managed certificate that has this id or this name.

    Raises:
        APIError: Neither; the failure of the look-up by id.
    """
    missing: APIError | None = None
    if _ID.fullmatch(text) and text not in {".", ".."}:
        try:
            return client.certificates.get(text)["id"]
        except APIError as error:
            if error.status != _NOT_FOUND:
                raise
            missing = error
    found = client.certificates.find(text) or client.certificates.find(text.lower())
    if found is not None:
        return found["id"]
    detail = f"There is no certificate with the id or the name {text}."
    hint = "'certctl certificates list' shows what there is."
    raise APIError(
        status=_NOT_FOUND,
        document={
            "code": "certificate_not_found",
            "detail": detail,
            "hint": hint,
            "request_id": missing.request_id if missing else "",
        },
    )
