"""The testing floor."""
