"""The reasons to revoke, spelled as in RFC 5280 §5.3.1.

The list stands here, too, because the room that owns it loads the cryptography library; a test
compares the two.
"""

from __future__ import annotations

REASONS = (
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "certificateHold",
    "privilegeWithdrawn",
)
