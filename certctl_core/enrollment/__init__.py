"""The enrollment floor."""
