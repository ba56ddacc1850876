"""What ``import certctl_core`` offers."""

from __future__ import annotations

import pytest

import certctl_core


@pytest.mark.parametrize("name", certctl_core.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(certctl_core, name).__name__ == name


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(AttributeError, match="module 'certctl_core' has no attribute 'Kernel'"):
        certctl_core.Kernel  # noqa: B018 - asking is the point
