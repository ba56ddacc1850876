"""What all plugin kinds share: the pluggy project, the version of this contract, the manifest.

A plugin package names a module in the entry-point group ``certctl.plugins``; the module implements
one or more ``certctl_…`` hooks, marked with ``hookimpl``, that return lists of classes. Hooks only
register; the objects made from the classes do the work, each call guarded.
"""

from __future__ import annotations

import re
from abc import ABC
from typing import ClassVar

import pluggy

from certctl_core.contracts.options import PluginConfig

PROJECT = "certctl"
ENTRY_POINT_GROUP = "certctl.plugins"

API_VERSION = 1
"""The version of these contracts; a class that states another one is listed as unavailable."""

KIND = re.compile(r"[a-z][a-z0-9_-]{1,31}")
"""What a ``kind`` looks like."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Plugin(ABC):
    """The manifest: what core, API, CLI, UI and docs know about a kind without building it.

    Attributes:
        kind: ``[a-z][a-z0-9_-]{1,31}``, unique within the hook; stored in the database, so it
            never changes.
        title: The name a person reads.
        api_version: Always ``API_VERSION`` as the author knew it: the integer 1 today.
        Config: The configuration model.
        aliases: Other names that are accepted on input, matched without regard to case.
        packages: Import names that must be there; a missing one makes the kind unavailable.
        extra: The extra of the distribution that brings ``packages``, for the install hint.
        summary: One sentence for catalogues.
        docs_url: Where the vendor documents what the operator must prepare.
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    api_version: ClassVar[int]
    Config: ClassVar[type[PluginConfig]] = PluginConfig
    aliases: ClassVar[tuple[str, ...]] = ()
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    docs_url: ClassVar[str] = ""
