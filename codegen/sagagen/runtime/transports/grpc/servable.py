"""What grpclib's server serves."""

from collections.abc import Mapping
from typing import Protocol

from grpclib.const import Handler


class Servable(Protocol):
    """One service. grpclib has the same protocol in a module that it keeps to itself."""

    def __mapping__(self) -> Mapping[str, Handler]:
        """Its rpcs by path."""
        ...
