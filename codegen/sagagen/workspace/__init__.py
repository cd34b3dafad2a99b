"""Emitted files against the disk: where the project is, what differs, and bringing it in line."""
