"""What opens keys and tokens, as a handle: shown as ``[redacted]``, lent to a callback only."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from pydantic_core import core_schema
from typing_extensions import override

from certctl_core.kernel.secrets.secret import Secret

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler

Result = TypeVar("Result")

REDACTED = "[redacted]"
"""How a credential is shown."""

_SHORTEST = 4
"""Bytes; a shorter one would blot out ordinary words of an error's text."""


class Credential:
    """The bytes of a PIN, a passphrase or a root key (spec 02 SIGN-9).

    ``str``, ``repr``, ``format``, JSON, logs and pydantic dumps show ``[redacted]``. There is no
    attribute with the bytes: ``use`` lends them to a callback, and what the callback raises comes out
    without its frames and without the bytes in its text. Two compare in constant time. It is never
    pickled.

    Args:
        value: The bytes, a text (UTF-8), or a secret of the configuration.
    """

    __slots__ = ("_lend",)

    def __init__(self, value: bytes | str | Secret) -> None:
        text = value.reveal() if isinstance(value, Secret) else value
        data = text.encode() if isinstance(text, str) else bytes(text)

        def lend(action: Callable[[bytes], Result]) -> Result:
            return action(data)

        self._lend: Callable[[Callable[[bytes], Any]], Any] = lend

    def use(self, action: Callable[[bytes], Result]) -> Result:
        """Call ``action`` with the bytes and give back what it returns.

        Raises:
            ValueError: The action returns the bytes themselves, which do not leave it.
            Exception: Whatever the action raises, without the frames in which the bytes were.
        """
        failure: BaseException
        try:
            result = self._lend(action)
        except BaseException as error:  # noqa: BLE001 - raised again below, cleaned
            failure = error
        else:
            if not self._lend(lambda data: _is_same(result, data)):
                return result  # type: ignore[no-any-return] # what the action returned
            message = "a credential does not leave its callback"
            raise ValueError(message)
        self._lend(lambda data: _clean(failure, data))
        raise failure

    @override
    def __repr__(self) -> str:
        return REDACTED

    @override
    def __format__(self, format_spec: str) -> str:
        return format(REDACTED, format_spec)

    def __structlog__(self) -> str:
        """What stands in a log line."""
        return REDACTED

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Credential):
            return NotImplemented
        mine, theirs = self._lend, other._lend
        return bool(mine(lambda a: theirs(lambda b: hmac.compare_digest(a, b))))

    @override
    def __hash__(self) -> int:
        return int(self._lend(lambda data: hash((Credential, data))))

    def __copy__(self) -> Credential:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Credential:
        return self

    @override
    def __reduce__(self) -> NoReturn:
        message = "a credential cannot be pickled"
        raise TypeError(message)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.is_instance_schema(
            cls,
            serialization=core_schema.plain_serializer_function_ser_schema(
                str, return_schema=core_schema.str_schema()
            ),
        )


def _is_same(result: object, data: bytes) -> bool:
    if isinstance(result, str):
        return hmac.compare_digest(result.encode("utf-8", "surrogatepass"), data)
    if isinstance(result, bytes | bytearray | memoryview):
        return hmac.compare_digest(bytes(result), data)
    return False


def _clean(error: BaseException, data: bytes) -> None:
    """Take the bytes out of an error and of those that led to it."""
    for one in _chain(error):
        one.__traceback__ = None
        if len(data) < _SHORTEST:
            continue
        one.args = tuple(_without(argument, data) for argument in one.args)
        names = ["strerror", "filename", "filename2"] if isinstance(one, OSError) else []
        for name in (*names, *vars(one)):
            setattr(one, name, _without(getattr(one, name), data))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            waiting += [one.__cause__, one.__context__]
            yield one


def _without(argument: object, data: bytes) -> object:
    if isinstance(argument, dict):
        return {key: _without(value, data) for key, value in argument.items()}
    if isinstance(argument, list):
        return [_without(value, data) for value in argument]
    if isinstance(argument, bytes):
        return argument.replace(data, REDACTED.encode())
    if not isinstance(argument, str):
        return argument
    try:
        return argument.replace(data.decode(), REDACTED)
    except UnicodeDecodeError:
        return argument.replace(repr(data), REDACTED)
