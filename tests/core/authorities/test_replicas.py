"""Two processes on one database: what one has made, the other knows when it is asked for it."""

from __future__ import annotations

import pytest

from certctl_core.app import Core
from certctl_core.lifecycle.authorities import UnknownAuthority


def test_a_ca_of_another_process_is_found_before_anybody_tells_of_it(core: Core) -> None:
    with Core.open(core.settings, clock=core.clock, migrate=False) as replica:
        there = replica.rooms.authorities
        assert there.find_current("iss-local") is not None
        replica.feed.stop()  # it hears of nothing from here on
        body = {"id": "iss-other", "name": "Other", "kind": "local", "config": {"signer": "file"}}
        core.call("issuers.create", body=body)
        made = core.rooms.authorities.find_current("iss-other")
        assert made is not None

        found = there.authority_key(made.ca_key_id, "iss-other")

        assert found.certificate == made.certificate
        with pytest.raises(UnknownAuthority):
            there.authority_key("ab" * 20, "iss-other")
