"""Which mode, owner and group a file gets (spec 07 DEP-02, DEP-03)."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable, Sequence

from certctl_core.contracts.targets import WORLD, File
from certctl_core.deploy.errors import PathRefused
from certctl_core.deploy.files import FileState, Rights

_PUBLIC_MODE = 0o644
_SECRET_MODE = 0o600
_BITS = 0o777


def wanted_rights(
    file: File, present: FileState | None, default_owners: Sequence[str]
) -> tuple[Rights, str]:
    """Decide the rights: asked for, else as they are, else the target's default.

    Owner and group are decided on their own. A secret file never gets world bits, and the default
    owners, which are the users that a service works as, do not get it.

    Args:
        file: What the target wants.
        present: What is there.
        default_owners: The target's default users and groups.

    Returns:
        The rights, and a warning or an empty text.

    Raises:
        PathRefused: A user or group does not exist, or a secret should be readable by everybody.
    """
    mode, warning = _mode(file, present)
    defaults = () if file.secret else tuple(default_owners)
    uid = _id(
        file,
        file.owner,
        what="user",
        lookup=_user,
        defaults=defaults,
        present=None if present is None else present.uid,
    )
    gid = _id(
        file,
        file.group,
        what="group",
        lookup=_group,
        defaults=defaults,
        present=None if present is None else present.gid,
    )
    return Rights(mode=mode, uid=uid, gid=gid), warning


def has_rights(present: FileState, rights: Rights) -> bool:
    """Whether a file has these rights already."""
    return (
        present.mode == rights.mode
        and rights.uid in {None, present.uid}
        and rights.gid in {None, present.gid}
    )


def _mode(file: File, present: FileState | None) -> tuple[int, str]:
    if file.mode is None and present is not None:
        mode = present.mode & _BITS
        if file.secret and mode & WORLD:
            return mode & ~WORLD, f"{file.path} was open to everybody ({mode:04o}); no longer."
        return mode, ""
    default = _SECRET_MODE if file.secret else _PUBLIC_MODE
    mode = next(m for m in (file.mode, file.default_mode, default) if m is not None)
    if file.secret and mode & WORLD:
        raise PathRefused(path=file.path, reason="it holds a key and would be open to everybody")
    return mode, ""


def _id(
    file: File,
    name: str | None,
    *,
    what: str,
    lookup: Callable[[str], int | None],
    defaults: Sequence[str],
    present: int | None,
) -> int | None:
    if name is not None:
        found = lookup(name)
        if found is None:
            raise PathRefused(path=file.path, reason=f"there is no {what} {name}")
        return found
    if present is not None:
        return present
    known = (lookup(default) for default in defaults)
    return next((number for number in known if number is not None), None)


def _user(name: str) -> int | None:
    if name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _group(name: str) -> int | None:
    if name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
