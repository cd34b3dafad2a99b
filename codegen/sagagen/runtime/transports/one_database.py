"""Several processes of one service are replicas only if they share a database.

Two processes on a SQLite file each would be two services: what one has done, the other knows nothing of, and a repeat
that reaches the other one would be done twice. A gateway can't see that from addresses, so it asks. Before the first
call all are asked that can be reached; one that is away is asked when it is back, before it is called. So no call goes
to a process whose database is not the one of all others. Where one has a file of its own, or two differ, nothing is
called at all until a person mends it: two gateways could each have chosen another one.

A single process may have what it likes, and so may a name that has one address.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import structlog
from grpclib.const import Status as Code

from sagagen.runtime.rpc.database import DATABASE_PATH
from sagagen.runtime.rpc.errors import NoAnswer, NotReached, RpcError
from sagagen.runtime.rpc.transport import Transport
from sagagen.runtime.startup import SettingsError
from sagagen.runtime.transports.replicas import Replica, did_nothing

AGAIN_S = 1.0
"""How often all are asked again while something is wrong, in seconds."""
ASK_S = 1.0
"""Seconds that a process may take to say which database it has."""

Signed = Callable[[Transport], Transport]
_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class OneDatabase:
    """Of one service's replicas, as one gateway calls them."""

    def __init__(
        self, service: str, signed: Signed, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        """`signed` makes the calls of a transport ones that the service believes."""
        self._service = service
        self._signed = signed
        self._monotonic_s = monotonic_s
        self._asked_again_s = float("-inf")
        self._asking: dict[Replica, asyncio.Task[None]] = {}
        self._said = ""
        """What the log has been told is wrong."""

    async def check_at_start(self, replicas: Sequence[Replica]) -> None:
        """Raises SettingsError where those that can be reached don't share a database."""
        await self._ask_all(replicas)
        if wrong := self._wrong(replicas):
            raise SettingsError(wrong)

    async def check(self, replica: Replica, replicas: Sequence[Replica]) -> None:
        """Raises RpcError where this one must not be called, and NotReached where it can't be asked."""
        if len(replicas) < 2:
            return
        if all(each.database is None for each in replicas):
            await self._ask_all(replicas)
        if replica.database is None:
            await self._ask(replica)
        wrong = self._wrong(replicas)
        if wrong and self._monotonic_s() - self._asked_again_s >= AGAIN_S:  # it may have been mended
            self._asked_again_s = self._monotonic_s()
            for each in replicas:
                each.database = None
            await self._ask_all(replicas)
            wrong = self._wrong(replicas)
        if wrong != self._said:
            self._said = wrong
            if wrong:
                _logger.error(wrong, service=self._service)
        if wrong:
            raise RpcError(Code.UNAVAILABLE, wrong)
        if replica.database is None:
            raise NotReached(f"{replica.address} does not say which database it has")

    async def _ask_all(self, replicas: Sequence[Replica]) -> None:
        async def ask(replica: Replica) -> None:
            with suppress(RpcError):
                await self._ask(replica)

        await asyncio.gather(*(ask(replica) for replica in replicas if replica.database is None))

    async def _ask(self, replica: Replica) -> None:
        """Once, for all calls that want to know: they would keep a process busy that has trouble already."""
        asking = self._asking.get(replica)
        if asking is None:
            asking = self._asking[replica] = asyncio.create_task(
                self._ask_now(replica), name="which database"
            )
            asking.add_done_callback(partial(self._asked, replica))
        await asyncio.shield(asking)

    def _asked(self, replica: Replica, asking: "asyncio.Task[None]") -> None:
        del self._asking[replica]
        if not asking.cancelled():
            asking.exception()  # whoever asked may have gone

    async def _ask_now(self, replica: Replica) -> None:
        try:
            reply = await self._signed(replica).call(DATABASE_PATH, b"", metadata={}, timeout_s=ASK_S)
            replica.database = reply.response.decode(errors="replace")
        except RpcError as error:
            if error.code is Code.UNIMPLEMENTED:  # an earlier release, which knows SQLite alone
                replica.database = ""
            elif did_nothing(error) or not isinstance(error, NoAnswer):
                raise
            else:  # the call itself was not sent, so another one may have it
                raise NotReached(error.message) from error

    def _wrong(self, replicas: Sequence[Replica]) -> str:
        known = [replica for replica in replicas if replica.database is not None]
        variable = f"SAGAGEN_{self._service.upper()}_ADDR"
        if alone := next((replica for replica in known if not replica.database), None):
            return (
                f"{variable} names several processes of {self._service}, and the one at {alone.address} has a SQLite "
                "file of its own: that would be two databases; put the service on PostgreSQL "
                f"(SAGAGEN_{self._service.upper()}_DATABASE_URL), or name one process"
            )
        if len({replica.database for replica in known}) > 1:
            places = ", ".join(sorted(str(replica.address) for replica in known))
            return (
                f"{variable} names processes of {self._service} that do not share a database ({places}): give each the "
                f"same SAGAGEN_{self._service.upper()}_DATABASE_URL"
            )
        return ""
