"""``override``, which is for those who check types: loading it would cost a command milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from typing_extensions import override
else:
    Method = TypeVar("Method")

    def override(method: Method) -> Method:
        """The method itself."""
        return method


__all__ = ["override"]
