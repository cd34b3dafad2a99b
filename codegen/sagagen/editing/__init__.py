"""Additions to a contract as text: every byte that people wrote stays as they wrote it."""
