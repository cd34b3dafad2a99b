"""Additions to the text of a contract: every byte that people wrote stays as it is.

Nothing here touches handlers/ or generated/; that is `workspace`'s part.
"""
