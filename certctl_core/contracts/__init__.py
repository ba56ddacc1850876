"""The contracts floor."""
