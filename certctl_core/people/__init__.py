"""The people floor."""
