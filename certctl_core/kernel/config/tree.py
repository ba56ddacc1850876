"""The tree of all settings, as data: areas as attributes, values as fields."""

from pathlib import Path

from pydantic import Field

from certctl_core.kernel.config.audit import AuditSettings
from certctl_core.kernel.config.background import (
    AgentSettings,
    JobSettings,
    NotificationSettings,
    SchedulerSettings,
)
from certctl_core.kernel.config.database import DatabaseSettings
from certctl_core.kernel.config.fields import OFF, Section, setting
from certctl_core.kernel.config.limits import RateLimitSettings
from certctl_core.kernel.config.outbound import OutboundSettings
from certctl_core.kernel.config.pki import CASettings, CRLSettings, OCSPSettings, PKISettings
from certctl_core.kernel.config.plugins import PluginSettings
from certctl_core.kernel.config.retention import RetentionSettings
from certctl_core.kernel.config.security import AuthSettings, EncryptionSettings, SessionSettings
from certctl_core.kernel.config.server import ServerSettings
from certctl_core.kernel.config.signers import SignerSettings
from certctl_core.kernel.config.telemetry import LoggingSettings, MetricsSettings
from certctl_core.kernel.config.values import AbsolutePath, Flag

DEFAULT_DATA_DIR = Path("/var/lib/certctl")


class SettingsTree(Section):
    """Every setting. The order here is the order of reports and of the reference."""

    data_dir: AbsolutePath = setting(
        "DATA_DIR",
        DEFAULT_DATA_DIR,
        "Directory for what this server keeps: the SQLite file, its own CA and server keys, the "
        "generated keyring. Mode 0700.",
        derived="/var/lib/certctl; where that is not writable: $XDG_DATA_HOME/certctl",
        example="/srv/certctl",
    )
    allow_unknown: Flag = setting(
        "CONFIG_ALLOW_UNKNOWN",
        OFF,
        "Warn about CERTCTL_* names that nobody knows instead of refusing to start.",
        example="true",
    )
    server: ServerSettings = Field(default_factory=ServerSettings, title="Server")
    database: DatabaseSettings = Field(default_factory=DatabaseSettings, title="Database")
    scheduler: SchedulerSettings = Field(default_factory=SchedulerSettings, title="Scheduler")
    jobs: JobSettings = Field(default_factory=JobSettings, title="Jobs")
    notifications: NotificationSettings = Field(
        default_factory=NotificationSettings, title="Notifications"
    )
    agents: AgentSettings = Field(default_factory=AgentSettings, title="Agents")
    auth: AuthSettings = Field(default_factory=AuthSettings, title="Authentication")
    sessions: SessionSettings = Field(default_factory=SessionSettings, title="Sessions")
    encryption: EncryptionSettings = Field(default_factory=EncryptionSettings, title="Encryption")
    ca: CASettings = Field(default_factory=CASettings, title="Built-in CA")
    signers: SignerSettings = Field(default_factory=SignerSettings, title="Keys and tokens")
    pki: PKISettings = Field(default_factory=PKISettings, title="Publishing")
    crl: CRLSettings = Field(default_factory=CRLSettings, title="CRL")
    ocsp: OCSPSettings = Field(default_factory=OCSPSettings, title="OCSP")
    rate_limits: RateLimitSettings = Field(default_factory=RateLimitSettings, title="Rate limits")
    outbound: OutboundSettings = Field(default_factory=OutboundSettings, title="Outbound network")
    retention: RetentionSettings = Field(default_factory=RetentionSettings, title="Retention")
    audit: AuditSettings = Field(default_factory=AuditSettings, title="Audit log")
    plugins: PluginSettings = Field(default_factory=PluginSettings, title="Plugins")
    logging: LoggingSettings = Field(default_factory=LoggingSettings, title="Logging")
    metrics: MetricsSettings = Field(default_factory=MetricsSettings, title="Metrics")
