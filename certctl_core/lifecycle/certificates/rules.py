"""Pure decisions about managed certificates."""

from __future__ import annotations

from datetime import datetime, timedelta

from certctl_core.kernel.errors import FieldError
from certctl_core.lifecycle.certificates.errors import BadName
from certctl_core.lifecycle.certificates.types import Status
from certctl_core.pki.errors import PKIError
from certctl_core.pki.names import GeneralName, NameType, parse_general_name

EXPIRING_SHARE = 1 / 3
"""Without a policy window in days that fits, the last third of a lifetime counts as expiring."""


def parse_names(common_name: str, sans: list[str]) -> tuple[GeneralName, ...]:
    """The typed names a certificate will carry: the common name first if it is a name, then SANs.

    Duplicates collapse; order is kept (spec 02 CERT-4 … CERT-7).

    Raises:
        BadName: A name is unsafe or of no known form; the field is named.
    """
    names: list[GeneralName] = []
    first = _parse(common_name, "common_name")
    if first.type is not NameType.EMAIL or not sans:
        names.append(first)
    for index, san in enumerate(sans):
        names.append(_parse(san, f"sans.{index}"))
    return tuple(dict.fromkeys(names))


def _parse(text: str, field: str) -> GeneralName:
    try:
        return parse_general_name(text)
    except PKIError as error:
        raise BadName(
            reason=f"{text!r} is not a usable name: {error}",
            fields=[FieldError(field=field, message=str(error))],
        ) from error


def status_by_date(
    now: datetime, not_before: datetime, not_after: datetime, window: timedelta
) -> Status:
    """Active, Expiring or Expired: what a certificate with these dates is now."""
    if not_after <= now:
        return Status.EXPIRED
    limit = min(window, (not_after - not_before) * EXPIRING_SHARE)
    return Status.EXPIRING if not_after - now <= limit else Status.ACTIVE
