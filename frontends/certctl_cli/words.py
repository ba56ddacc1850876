"""Options that take one word of a list, spelled as people spell it."""

from __future__ import annotations

from collections.abc import Iterable

import click
from typing_extensions import override


class Words(click.Choice[str]):
    """One of some words; capitals, hyphens and underscores make no difference.

    Help, messages and the answer have the spelling of the list.
    """

    def __init__(self, words: Iterable[str]) -> None:
        super().__init__(tuple(words))
        self._spelled = {_folded(word): word for word in self.choices}

    @override
    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert(self._spelled.get(_folded(value), value), param, ctx)


def _folded(word: str) -> str:
    return word.replace("-", "").replace("_", "").casefold()
