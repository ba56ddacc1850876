"""The alert rules that come along ask for metrics that exist (02 OPS-2)."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT

RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
SOURCES = ("certctl_core", "frontends")


def _texts(*folders: str) -> str:
    files = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@pytest.mark.spec("02/OPS-2")
def test_every_metric_and_page_exists() -> None:
    text = RULES.read_text(encoding="utf-8")
    named = set(re.findall(r"\bcertctl_[a-z_]+", text))
    made = set(re.findall(r"\"(certctl_[a-z_]+)\"", _texts(*SOURCES)))

    assert len(named) >= 10
    assert named <= made
    for page in set(re.findall(r"runbook: (\S+)", text)):
        assert (ROOT / page).is_file(), page


@pytest.mark.spec("02/OPS-2")
def test_every_label_value_is_one_that_is_counted() -> None:
    text, code = RULES.read_text(encoding="utf-8"), _texts(*SOURCES)
    for value in set(re.findall(r'(?:label|loop|result)!?="([a-z_]+)"', text)):
        assert f'"{value}"' in code, value


def test_each_alert_says_what_and_how_urgent() -> None:
    alerts = re.split(r"(?m)^      - alert: ", RULES.read_text(encoding="utf-8"))[1:]
    names = [alert.split()[0] for alert in alerts]

    assert len(names) == len(set(names))
    for alert in alerts:
        for member in ("expr: ", "severity: ", "summary: ", "runbook: "):
            assert alert.count(member) == 1, alert
