"""The one failure of loading settings: it carries every problem, not only the first."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from certctl_core.kernel.errors import FieldError, Invalid
from certctl_core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with the settings.

    Attributes:
        setting: The full name, ``CERTCTL_SERVER_PORT``, or the file that cannot be read.
        message: What is wrong, to be read after the name ("is not a whole number").
        found: What was found, as text; empty for secrets and where nothing was given.
        hint: What to do; may be empty.
        source: Where the value came from ("environment", "/etc/certctl/certctl.toml", …).
    """

    setting: str
    message: str
    found: str = ""
    hint: str = ""
    source: str = ""

    @override
    def __str__(self) -> str:
        found = f" (found {self.found!r})" if self.found else ""
        source = f" [{self.source}]" if self.source and self.source != "default" else ""
        hint = f". {self.hint}" if self.hint else ""
        return f"{self.setting} {self.message}{found}{source}{hint}"


class ConfigError(Invalid):
    """The settings cannot be used; ``problems`` holds every reason, in order of the settings."""

    code = "config_invalid"
    text = "The configuration has {count} problem(s): {problems_text}"
    hint = "Run 'certctl config check' after each change."

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(
            fields=[FieldError(field=item.setting, message=item.message) for item in problems],
            count=len(self.problems),
            problems_text="; ".join(map(str, self.problems)),
        )


class UnknownSetting(Invalid):
    """Nothing is called that; data: ``name``."""

    code = "unknown_setting"
    text = "There is no setting {name}."
