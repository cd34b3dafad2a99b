"""Copies what a stopped service keeps from its SQLite file to PostgreSQL, or back: its tables and its barrier.

`copying.py` says what is done in which order, `sqlite_end.py` and `postgres_end.py` how each store is read and written.
Neither of them knows the other: between them go tables with their columns, and rows as Python values.
"""
