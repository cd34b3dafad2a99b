"""What somebody asks of the admin listener, or of a log at rest, as far as it is known yet."""

import time
from dataclasses import dataclass

from sagagen.runtime.audit.entry import AuditEntry, Result


@dataclass(slots=True)
class Deed:
    """It becomes an entry of the audit, however it ends."""

    did: str
    """`resolve`, `confirm resolve`, `show`."""
    saga_id: str = ""
    order_id: str = ""
    by: str = ""
    scheme: str = ""
    address: str = ""
    trace_id: str = ""
    is_order: bool = True
    """It would change something; otherwise somebody only looks."""
    is_kept: bool = False
    """An entry says already how it ended."""

    def entry(self, result: Result, reason: str = "") -> AuditEntry:
        """With the time of now."""
        return AuditEntry(
            at_ms=time.time_ns() // 1_000_000,
            by=self.by,
            did=self.did,
            result=result,
            saga_id=self.saga_id,
            order_id=self.order_id,
            reason=reason,
            scheme=self.scheme,
            trace_id=self.trace_id,
            address=self.address,
        )
