"""Values behave as the frozen dataclasses of the standard library, before and after their first use."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from certctl_core import values

Item = TypeVar("Item")


def _classes(dataclass: Any) -> tuple[type[Any], type[Any], type[Any]]:
    """The same three classes, made by one decorator or the other."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Slotted(Generic[Item]):
        """With slots, and with fields of every sort."""

        limit: ClassVar[int] = 3
        name: str
        size: int = 1
        parts: list[str] = field(default_factory=list, compare=False)
        hidden: str = field(default="h", repr=False)

        def __post_init__(self) -> None:
            if self.size > self.limit:
                message = "too large"
                raise ValueError(message)

    @dataclass(frozen=True, kw_only=True)
    class Base:
        """To be inherited from."""

        id: str

    @dataclass(frozen=True, kw_only=True)
    class Heir(Base):
        """With a field of its own."""

        colour: str = "red"

    return Slotted, Base, Heir


THEIRS = _classes(dataclasses.dataclass)
USES: dict[str, Callable[..., object]] = {
    "repr": lambda slotted, base, heir: [
        repr(slotted(name="a")),
        repr(base(id="1")),
        repr(heir(id="1")),
    ],
    "equal": lambda slotted, _base, heir: [
        slotted(name="a") == slotted(name="a", parts=["x"]),
        slotted(name="a") == slotted(name="b"),
        heir(id="1") == heir(id="1", colour="blue"),
        slotted(name="a") == "a",
    ],
    "siblings": lambda _slotted, base, heir: base(id="1") == heir(id="1"),
    "hash": lambda slotted, _base, heir: [
        hash(slotted(name="a")) == hash(slotted(name="a", parts=["x"])),
        len({heir(id="1"), heir(id="1"), heir(id="2")}),
    ],
    "replace": lambda slotted, _base, heir: [
        repr(dataclasses.replace(slotted(name="a"), size=2)),
        repr(dataclasses.replace(heir(id="1"), colour="blue")),
    ],
    "dict": lambda slotted, _base, heir: [
        dataclasses.asdict(slotted(name="a", parts=["x"])),
        dataclasses.asdict(heir(id="1")),
    ],
    "fields": lambda *all_three: [
        [(item.name, item.kw_only, item.compare) for item in dataclasses.fields(cls)]
        for cls in all_three
    ],
    "shape": lambda slotted, _base, heir: [
        slotted.__slots__,
        slotted.__match_args__,
        hasattr(heir(id="1"), "__dict__"),
        slotted.__doc__,
    ],
    "signature": lambda slotted, _base, _heir: [slotted(name="a"), str(inspect.signature(slotted))][
        1:
    ],
    "copy": lambda slotted, _base, heir: [
        copy.copy(slotted(name="a")) == slotted(name="a"),
        copy.deepcopy(slotted(name="a", parts=["x"])).parts,
        copy.copy(heir(id="1")) == heir(id="1"),
    ],
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_a_value_is_a_frozen_dataclass(use: Callable[..., object]) -> None:
    ours = _classes(values.dataclass)

    first, again = use(*ours), use(*ours)

    assert first == again == use(*THEIRS)


@pytest.mark.parametrize(
    ("error", "use"),
    [
        (FrozenInstanceError, lambda slotted: setattr(slotted(name="a"), "name", "b")),
        (FrozenInstanceError, lambda slotted: delattr(slotted(name="a"), "name")),
        (TypeError, lambda slotted: slotted()),
        (TypeError, lambda slotted: slotted("a")),
        (TypeError, lambda slotted: slotted(name="a", other=1)),
        (ValueError, lambda slotted: slotted(name="a", size=4)),
    ],
)
def test_a_value_refuses_what_a_frozen_dataclass_refuses(
    error: type[Exception], use: Callable[[type[Any]], object]
) -> None:
    with pytest.raises(error):
        use(_classes(values.dataclass)[0])


def test_the_first_use_may_be_any() -> None:
    made = [object.__new__(cls) for cls in _classes(values.dataclass)[1:]]
    for item in made:
        object.__setattr__(item, "id", "1")

    assert hash(made[0]) == hash(("1",))
    assert made[0] != made[1]


@values.dataclass(frozen=True, slots=True)
class Kept:
    """In a module, as pickle wants it."""

    number: int


def test_a_value_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(Kept(7))) == Kept(7)  # noqa: S301 - our own bytes


def test_a_plain_frozen_dataclass_may_inherit_from_a_value() -> None:
    @dataclasses.dataclass(frozen=True)
    class Larger(Kept):
        extra: str = "x"

    assert repr(Larger(1)).endswith("Larger(number=1, extra='x')")


def test_a_class_that_is_not_frozen_stays_as_it_was() -> None:
    @values.dataclass(slots=True)
    class Open:
        number: int

    item = Open(1)
    item.number = 2

    assert item == Open(2)


def test_methods_of_the_class_itself_are_kept() -> None:
    @values.dataclass(frozen=True)
    class Told:
        secret: str

        def __repr__(self) -> str:
            return "Told(…)"

    assert repr(Told("x")) == "Told(…)"
    assert Told("x") == Told("x")
