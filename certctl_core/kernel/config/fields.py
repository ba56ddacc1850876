"""How an area declares a setting: one call holds its name, default, bounds and description."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

PREFIX = "CERTCTL_"

ON, OFF = True, False
"""Defaults of yes-or-no settings."""


class Section(BaseModel):
    """One area of the settings. Frozen; a field it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def setting(
    name: str,
    default: Any,
    description: str,
    *,
    example: str = "",
    ge: object = None,
    le: object = None,
    live: bool = False,
    derived: str = "",
) -> Any:
    """Declare a field as a setting.

    Args:
        name: The name without ``CERTCTL_``, in capitals.
        default: The value when nothing is set; of the field's type.
        description: One sentence or two for the operator, with the unit where the type has none.
        example: A value as one would write it.
        ge: Lower bound, inclusive.
        le: Upper bound, inclusive.
        live: Whether a reload (SIGHUP) takes a new value.
        derived: How the default comes about where it depends on others, for the reference.
    """
    bounds: dict[str, Any] = {
        key: value for key, value in (("ge", ge), ("le", le)) if value is not None
    }
    return Field(
        default,
        title=name,
        description=description,
        examples=[example] if example else None,
        json_schema_extra={"live": live, "derived": derived},
        **bounds,
    )
