"""The handshake between generated code and the runtime that it imports."""

API = 1
"""Raised whenever code that an earlier generator emitted would no longer run on this runtime."""


def require_api(version: int) -> None:
    """Called by generated code at import. Raises ImportError when generator and runtime do not fit each other."""
    if version != API:
        older = "generated code" if version < API else "the installed sagagen"
        raise ImportError(
            f"generated code speaks version {version} of the runtime's interface, the installed sagagen {API}: "
            f"{older} is older; run `sagagen generate`, or install the sagagen that generated it"
        )
