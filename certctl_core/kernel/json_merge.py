"""JSON merge patch as values (RFC 7396); knows nothing of models, requests or storage."""

from __future__ import annotations


def merged(target: object, patch: object) -> object:
    """What ``patch`` makes of ``target``; neither is changed (RFC 7396 §2).

    Objects are merged member by member, null takes one out; everything else replaces.
    """
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
