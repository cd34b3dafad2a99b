"""The codes of findings in handlers/. Stable, like those of the contract (docs/diagnostics.md)."""

from enum import StrEnum


class HandlerCode(StrEnum):
    """SG160 to SG169."""

    NOT_PYTHON = "SG160"
    NO_CLASS = "SG161"
    FOREIGN_BASE = "SG162"
    NO_RPC = "SG163"
    LOST_MESSAGE = "SG164"
    UNSAFE = "SG165"
    UNKNOWN_FIELD = "SG166"
    IN_THE_WAY = "SG167"
