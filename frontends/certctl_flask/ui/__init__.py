"""The web interface: templates, style and the filters that templates use."""
