"""Names instead of ids: what pages show for the things that they mention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from typing_extensions import override

from certctl_core.kernel.errors import CertctlError

_SECONDS = 10.0
_MAX_ENTRIES = 20_000
_READERS = {
    "mc": ("certificates.get", "certificate_id"),
    "iss": ("issuers.get", "issuer_id"),
    "prof": ("profiles.get", "profile_id"),
    "rp": ("renewal_policies.get", "renewal_policy_id"),
    "ag": ("agents.get", "agent_id"),
    "tgt": ("targets.get", "target_id"),
    "nfr": ("notifiers.get", "notifier_id"),
    "nr": ("notification_routes.get", "route_id"),
}
_KEY = "ak"


class NameCache:
    """Names that were read lately, for each reader of their own: nobody is shown more by it."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._found: dict[tuple[str, str], tuple[float, Any]] = {}

    def get(self, reader: str, key: str, read: Callable[[], Any]) -> Any:
        """A remembered value, read again after ten seconds."""
        now = self._monotonic()
        known = self._found.get((reader, key))
        if known is not None and now - known[0] < _SECONDS:
            return known[1]
        if len(self._found) >= _MAX_ENTRIES:
            self._found.clear()
        value = read()
        self._found[reader, key] = (now, value)
        return value

    def forget(self) -> None:
        """Forget everything: something was changed."""
        self._found.clear()


class Names(Mapping[str, str]):
    """Id → name, looked up when a template asks, with the rights of the reader.

    What the reader may not see, or what is gone, has no name; templates then show the id.

    Args:
        call: Runs an operation as the reader: name, path, query.
        cache: Shared by all pages.
        reader: Who looks, as the key of the cache.
    """

    def __init__(self, call: Callable[..., Any], cache: NameCache, reader: str) -> None:
        self._call = call
        self._cache = cache
        self._reader = reader

    @override
    def __getitem__(self, key: str) -> str:
        """The name.

        Raises:
            KeyError: There is none to show.
        """
        found = self._name(str(key))
        if not found:
            raise KeyError(key)
        return found

    @override
    def __iter__(self) -> Iterator[str]:
        """Nothing: names are looked up, not listed."""
        return iter(())

    @override
    def __len__(self) -> int:
        """Nothing is held."""
        return 0

    def _name(self, key: str) -> str | None:
        prefix = key.partition("-")[0]
        if prefix == _KEY:
            keys: dict[str, str] = self._cache.get(self._reader, _KEY, self._keys)
            return keys.get(key)
        if prefix not in _READERS:
            return None
        found: str | None = self._cache.get(self._reader, key, lambda: self._one(prefix, key))
        return found

    def _one(self, prefix: str, key: str) -> str | None:
        operation, parameter = _READERS[prefix]
        try:
            return str(self._call(operation, {parameter: key})["name"])
        except (CertctlError, KeyError):
            return None

    def _keys(self) -> dict[str, str]:
        try:
            page = self._call("api_keys.list", query={"page_size": "500"})
        except (CertctlError, KeyError):
            return {}
        return {row["id"]: row["name"] for row in page["data"]}
