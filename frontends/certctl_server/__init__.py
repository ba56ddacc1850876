"""The process: boot, listeners, supervision, administration (spec 08 §1, §3).

``commands`` holds what the command line offers; importing it costs nothing. ``serve`` is the parent
that owns the signals; everything else runs in children that it forks after the heavy imports, so
that they share those pages.
"""
