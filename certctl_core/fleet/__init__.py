"""The fleet floor."""
