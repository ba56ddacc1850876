"""Secret references of plugin configurations: files below the data directory (06 CFG-4)."""

from __future__ import annotations

from pathlib import Path

from certctl_core.app.errors import SecretReferenceUnusable
from certctl_core.contracts.options import Reference

_MAX_BYTES = 64 * 1024


class References:
    """Resolves ``secretref:file:NAME`` to the content of ``<data dir>/secrets/NAME``.

    Any other place would let an editor of plugin settings read the server's own files.
    """

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / "secrets"

    def __call__(self, reference: Reference) -> str:
        """The text that a reference names, without one trailing newline.

        Raises:
            SecretReferenceUnusable: Unknown kind, outside the folder, unreadable or too large.
        """
        name = f"secretref:{reference.kind}:{reference.path}"
        if reference.kind != "file":
            raise SecretReferenceUnusable(reference=name, reason="only 'file' is known here")
        path = (self._root / reference.path.lstrip("/")).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise SecretReferenceUnusable(reference=name, reason="it leads outside the folder")
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise SecretReferenceUnusable(reference=name, reason="the file is too large")
            return path.read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = "the file cannot be read"
            raise SecretReferenceUnusable(reference=name, reason=reason) from error
