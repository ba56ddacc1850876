"""How much one client may ask for."""

from datetime import timedelta

from certctl_core.kernel.config.fields import ON, Section, setting
from certctl_core.kernel.config.values import (
    Duration,
    Flag,
    Integer,
)

_DAY = timedelta(days=1)
_CENTURY = 36_525 * _DAY


class RateLimitSettings(Section):
    """``settings.rate_limits``."""

    enabled: Flag = setting(
        "RATE_LIMIT_ENABLED",
        ON,
        "Whether the general limits per address and per actor apply.",
        example="false",
    )
    rps: Integer = setting(
        "RATE_LIMIT_RPS",
        50,
        "Requests per second of one client address before it is known who asks.",
        ge=1,
        le=1_000_000,
        example="100",
    )
    burst: Integer = setting(
        "RATE_LIMIT_BURST",
        100,
        "Requests that one client address may send at once.",
        ge=1,
        le=1_000_000,
        example="200",
    )
    per_user_rps: Integer = setting(
        "RATE_LIMIT_PER_USER_RPS",
        0,
        "Requests per second of one signed-in actor; 0: as CERTCTL_RATE_LIMIT_RPS.",
        ge=0,
        le=1_000_000,
        example="20",
    )
    per_user_burst: Integer = setting(
        "RATE_LIMIT_PER_USER_BURST",
        0,
        "Requests that one signed-in actor may send at once; 0: as CERTCTL_RATE_LIMIT_BURST.",
        ge=0,
        le=1_000_000,
        example="40",
    )
    bucket_ttl: Duration = setting(
        "RATE_LIMIT_BUCKET_TTL",
        timedelta(hours=1),
        "An idle bucket is forgotten after this long.",
        ge=timedelta(minutes=1),
        le=31 * _DAY,
        example="30m",
    )
