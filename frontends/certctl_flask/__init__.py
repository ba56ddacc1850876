"""certctl_flask."""
