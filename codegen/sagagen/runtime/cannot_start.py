"""What keeps a process from starting, and a person can mend."""


class CannotStart(Exception):
    """The message is the whole answer: what is wrong, where, and what to do. Anything else is a traceback."""
