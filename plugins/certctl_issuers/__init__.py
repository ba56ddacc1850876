"""certctl_issuers."""
