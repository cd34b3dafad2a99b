"""Brings a project's folder in line with what the contract emits, and says how the two differ.

Here are the only reads and writes of generated/, handlers/ and gateway/. What files contain is decided in `emit`.
"""
