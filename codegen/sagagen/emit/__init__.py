"""From the resolved contract to files in memory: plan (which) -> render (their bytes). No disk, clock or network.

Views hold all that templates may print; templates hold layout. Messages are betterproto2's work, with our names.
"""
