"""The one secret type: it prints as ``********`` wherever it ends up."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic_core import core_schema
from typing_extensions import override

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

MASK = "********"
"""How a secret is shown. Sent back to us it means "keep what is stored"."""


class Secret:
    """A text that only ``reveal()`` gives out (spec 06 CFG-3).

    ``str``, ``repr``, ``format``, JSON and pydantic dumps show ``********``. Two secrets compare in
    constant time; comparing with a plain string is always unequal. It cannot be pickled. It is not
    a ``str``, so it never slips into a request or a log line by itself.

    Args:
        value: The text, or another secret.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str | Secret) -> None:
        self._value: str = value.reveal() if isinstance(value, Secret) else value

    def reveal(self) -> str:
        """The text itself. Use it at once, in the call that needs it; do not keep it."""
        return self._value

    @override
    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    @override
    def __str__(self) -> str:
        return MASK

    @override
    def __format__(self, format_spec: str) -> str:
        return format(MASK, format_spec)

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    @override
    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Secret:
        return self

    @override
    def __reduce__(self) -> NoReturn:
        message = "a secret cannot be pickled"
        raise TypeError(message)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            cls._validate,
            core_schema.str_schema(max_length=MAX_LENGTH),
            serialization=core_schema.plain_serializer_function_ser_schema(
                str, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    @classmethod
    def _validate(cls, value: object, handler: core_schema.ValidatorFunctionWrapHandler) -> Secret:
        return value if isinstance(value, Secret) else cls(handler(value))

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "format": "password", "writeOnly": True, "maxLength": MAX_LENGTH}


MAX_LENGTH = 65_536
"""Characters; a PEM key with its chain fits, a wrongly pasted file does not."""
