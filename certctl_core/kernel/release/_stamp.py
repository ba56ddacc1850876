"""What a build knows of itself: nothing in a source tree. A wheel has this file filled in.

``hatch_build.py`` writes that one.
"""

from __future__ import annotations

VERSION: str | None = None
COMMIT: str | None = None
IS_MODIFIED: bool | None = None
BUILD_TIME: str | None = None
