"""The reference of the settings, made from the model: as a page, and as a JSON Schema."""

from __future__ import annotations

from itertools import groupby

from certctl_core.kernel.config.index import SettingSpec, specs
from certctl_core.kernel.config.tree import SettingsTree
from certctl_core.kernel.events import JSON, to_json

_INTRODUCTION = """\
Each setting has one name. In the environment it is written as below; in the TOML file
(`--config`, else `/etc/certctl/certctl.toml`) it is the same name in lower case without `CERTCTL_`.
The first of these that gives a value wins: command line, environment, `<NAME>_FILE` (the name of a
file that holds the value), TOML file, default. A name that nobody knows stops the start.

Durations are written with units (`250ms`, `30s`, `5m`, `1h30m`, `7d`), sizes in bytes or with `KiB`
or `MiB`, lists with commas. Settings marked *secret* are never shown; settings marked *live* are
read again on SIGHUP.
"""


def settings_markdown() -> str:
    """The tables of all settings, one per area, ready for ``docs/reference/configuration.md``."""
    parts = [_INTRODUCTION]
    for title, group in groupby(specs().values(), key=lambda spec: spec.area_title):
        rows = "".join(_row(spec) for spec in group)
        parts.append(
            f"\n## {title}\n\n| Setting | Type | Default | Meaning |\n|---|---|---|---|\n{rows}"
        )
    return "".join(parts)


def settings_schema() -> dict[str, JSON]:
    """All settings as JSON: ``{"settings": [{name, type, default, …}], "tree": JSON Schema}``."""
    rows: list[JSON] = [
        {
            "name": spec.env_name,
            "toml_key": spec.toml_key,
            "attribute": spec.attribute,
            "area": spec.area_title,
            "type": spec.type_text,
            "default": spec.default_text,
            "bounds": spec.bounds,
            "description": spec.description,
            "example": spec.example,
            "live": spec.live,
            "secret": spec.is_secret,
        }
        for spec in specs().values()
    ]
    return {"settings": rows, "tree": to_json(SettingsTree.model_json_schema())}


def _row(spec: SettingSpec) -> str:
    kind = spec.type_text
    if spec.bounds:
        kind += f", {spec.bounds}"
    marks = [text for text, held in (("secret", spec.is_secret), ("live", spec.live)) if held]
    kind += "".join(f", *{mark}*" for mark in marks)
    default = f"`{spec.default_text}`" if spec.default_text else "–"
    meaning = spec.description
    if spec.example:
        meaning += f" Example: `{spec.example}`."
    cells = (f"`{spec.env_name}`", kind, default, meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"
