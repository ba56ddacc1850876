"""certctl_cli."""
