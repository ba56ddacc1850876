"""Values of the policies room."""

from __future__ import annotations

from typing import Protocol

DEFAULT_POLICY_ID = "rp-default"


class RenewalTerms(Protocol):
    """What the rules read of a renewal policy; ``RenewalPolicyView`` has it all."""

    @property
    def auto_renew(self) -> bool:
        """Whether anything renews by itself."""
        ...

    @property
    def renew_at_percent(self) -> int:
        """Share of the lifetime after which a renewal may start."""
        ...

    @property
    def renewal_window_days(self) -> int:
        """Days before the end when it may start."""
        ...
