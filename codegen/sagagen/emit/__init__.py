"""From the resolved contract to files in memory: plan (which files) -> render (their bytes). No disk, clock or network.

Views hold everything that templates may print; templates hold layout. betterproto2 writes the messages, with our names.
"""
