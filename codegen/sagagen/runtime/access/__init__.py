"""Callers, and what they may do: tokens, API keys, and the rules of the contract's `security` section.

The edge and the operators' listener ask here, and only where the contract has that section: `identity.py` says what
they get, and nothing else is imported otherwise. What a route or a command then does is theirs. Nothing here knows HTTP
paths, sagas or databases.
"""
