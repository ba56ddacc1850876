"""certctl_notifiers."""
