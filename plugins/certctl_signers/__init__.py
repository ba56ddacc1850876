"""certctl_signers."""
