"""An example plugin distribution for certctl: one issuer and one notifier."""
