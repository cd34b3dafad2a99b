"""The barrier: the decision about a call, and what calls and their records are. Pure, and the same for every store.

No database, no clock and no network in here: `rules.rule` gets rows and the time as arguments. `calls` has the values
that pass between delivery and a store.
"""
