"""certctl_targets."""
