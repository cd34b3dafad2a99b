"""Group commit: everything that waits is written in one transaction, and one fsync is paid for it.

The order of the queue is the order of the log. A write that is waited for is on disk when its future is done; one that
rides along waits in the same queue for the next commit, so nothing that follows it can be durable before it.

`GroupWriter` is the one owner of the commit's state; `commit_states` has the table of states and events.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

from sagagen.runtime.log.commit_states import CALLING, RESTFUL, Event, State, next_state
from sagagen.runtime.log.errors import LogUnavailable
from sagagen.runtime.log.transaction import Written, commit, is_out_of_room, roll_back, write_all
from sagagen.runtime.log.write_queue import GATHER_S, MAX_WAITING, LogWrite, WriteQueue
from sagagen.runtime.sqlite.database import Database, begin, begin_at_once
from sagagen.runtime.telemetry.metrics import COMMIT_SECONDS, COMMIT_WRITES, FSYNCS

LINGER_S = 0.5
"""Time in seconds that rows that ride along wait for company before they get a commit of their own."""

CLOSE_S = 10.0
"""Time in seconds that closing waits at most for the disk."""

Work = Callable[[sqlite3.Connection], int | None]

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class GroupWriter:
    """The queue, and what empties it: whoever brings a row, if the log rests and enough have come; otherwise `run`."""

    def __init__(
        self,
        database: Database,
        release_room: Callable[[], bool] = lambda: False,
        *,
        max_waiting: int = MAX_WAITING,
        gather_s: float = GATHER_S,
        linger_s: float = LINGER_S,
        pause_s: float = LogUnavailable.retry_after_s,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`release_room` is called when the disk is full; true if there is room now that was not there before.

        Nobody else uses the database's connection between `begin` and `COMMIT`. Times are in seconds.
        """
        self._database = database
        self._release_room = release_room
        self._queue = WriteQueue(max_waiting=max_waiting, gather_s=gather_s, monotonic_s=monotonic_s)
        self._waits_s = {State.LINGERING: linger_s, State.PAUSED: pause_s, State.GATHERING: gather_s}
        self._state = State.RESTING
        self._timer: asyncio.TimerHandle | None = None
        """Of the state, if it waits."""
        self._call = asyncio.Event()
        """Wakes the task."""
        self._broken: tuple[Sequence[LogWrite], Exception] | None = None
        """While BROKEN: the group that is to be repaired, and what its commit raised."""
        self.commits = 0
        """Transactions so far: each is one fsync."""

    @property
    def state(self) -> State:
        """How far the commit is."""
        return self._state

    @property
    def is_full(self) -> bool:
        """As many writes wait as may: whoever brings more has to wait for room."""
        return self._queue.is_full

    def gather_for(self, at_work: Callable[[float], int]) -> None:
        """Let commits wait a little for company.

        `at_work` says how many writers there are that wait for the log, or will bring it something soon; those that
        have waited for something else since before a time (in seconds of the monotonic clock) are not among them.
        """
        self._queue.gather_for(at_work)

    async def write(self, work: Work, *, is_long: bool = False) -> int | None:
        """Do `work` in the next commit, and return what it returned once that is on disk.

        Raises what `work` raised if it is its own fault, or LogUnavailable. If the caller is cancelled the work is done
        all the same, or not: read the log to know.
        """
        future: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        await self._enqueue(LogWrite(work, future, is_long))
        if not (self._state in RESTFUL and self._queue.is_enough and self._commit_at_once()):
            self._on(Event.AWAITED)
        return await future

    async def write_later(self, work: Work) -> None:
        """Do `work` in some later commit, in the order of calls. It is lost if the process dies before."""
        await self._enqueue(LogWrite(work))
        self._on(Event.RIDES)

    async def _enqueue(self, write: LogWrite) -> None:
        while self._queue.is_full and not self._queue.is_closing:
            # What fills the queue may all ride along: without this event nothing would empty it for a while.
            self._on(Event.CROWDED)
            await self._queue.wait_for_room()
        if self._queue.is_closing:
            raise LogUnavailable("the saga log is closing")
        self._queue.append(write)

    def close(self) -> None:
        """Let `run` write what is queued, and end. Nothing more is accepted."""
        self._queue.close()  # before the event: what follows from it depends on this
        self._on(Event.CLOSE)

    def _on(self, event: Event) -> State:
        state = next_state(self._state, event, self._queue)
        if state is not self._state:
            self._enter(state)
        return state

    def _enter(self, state: State) -> None:
        self._state = state
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if state in self._waits_s:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._waits_s[state], self._on, Event.TIMER)
        if state in CALLING:
            self._call.set()

    async def run(self) -> None:
        """Commit group after group until closed."""
        while (state := await self._turn()) is not State.CLOSED:
            if state is State.COMMITTING:
                await self._commit_group()

    async def _turn(self) -> State:
        await self._call.wait()
        # Cleared before the state changes, since the change may call the task again.
        self._call.clear()
        return self._on(Event.TURN)

    def _commit_at_once(self) -> bool:
        """Begin to commit what is queued without the task, which would take two more turns of the event loop.

        False where that can't be done in place: then nothing was done, and the task meets the same again.
        """
        begun_s = time.monotonic()
        group = self._queue.next_group()
        if any(write.is_long for write in group) or (results := self._written_in_place(group)) is None:
            return False
        # Only now: until everything is written the group keeps its place, in case the task has to write it.
        self._queue.dequeue(group)
        self._on(Event.BEGUN)

        def ended(error: Exception | None) -> None:
            if error:
                self._broken = group, error  # before the event, which calls the task to look at it
                self._on(Event.BROKE)
            else:
                self._committed(group, results, begun_s)

        # In its thread the commit waits for the disk, while the event loop goes on and more rows are queued.
        self._database.hand_over(commit, ended)
        return True

    def _written_in_place(self, group: Sequence[LogWrite]) -> list[Written] | None:
        """None if another program writes to the file, or it is at fault. The transaction is open only if written."""
        database = self._database
        try:
            if not database.in_place(begin_at_once):
                return None
            return database.in_place(lambda connection: write_all(connection, group))
        except Exception:  # noqa: BLE001 - the task meets it again, and reports it
            with suppress(sqlite3.Error):
                database.in_place(roll_back)
            return None

    async def _commit_group(self) -> None:
        """The task's own commit: of the next group, or of the one that is broken."""
        begun_s = time.monotonic()
        broken, self._broken = self._broken, None
        group, error = broken or (self._queue.next_group(), None)
        if broken is None:
            self._queue.dequeue(group)
        try:
            results = await self._commit_making_room(group, error)
        except Exception as cause:  # noqa: BLE001 - whatever it is, whoever waits must hear of it
            self._fail(group, cause)
        else:
            self._committed(group, results, begun_s)

    def _committed(self, group: Sequence[LogWrite], results: Sequence[Written], begun_s: float) -> None:
        self.commits += 1
        FSYNCS.inc()
        COMMIT_WRITES.observe(len(group))
        COMMIT_SECONDS.observe(time.monotonic() - begun_s)
        self._queue.settle(group)
        for write, result in zip(group, results, strict=True):
            _settle(write, result)
        self._on(Event.COMMITTED)

    async def _commit_making_room(
        self, group: Sequence[LogWrite], broken_by: Exception | None
    ) -> list[Written]:
        """`broken_by`: what the group's commit raised when it was begun at once."""
        if broken_by is None:
            try:
                return await self._transact(group)
            except sqlite3.OperationalError as error:
                broken_by = error
        else:
            await self._database.in_thread(roll_back)
        if not (is_out_of_room(broken_by) and self._release_room()):
            raise broken_by
        return await self._transact(group)

    async def _transact(self, group: Sequence[LogWrite]) -> list[Written]:
        """Rows are written in place, since that takes less than to hand them over; the thread waits for the disk."""
        database = self._database
        try:
            if not database.in_place(begin_at_once):
                await database.in_thread(begin)
            if any(write.is_long for write in group):
                results = await database.in_thread(lambda connection: write_all(connection, group))
            else:
                results = database.in_place(lambda connection: write_all(connection, group))
            await database.in_thread(commit)
        except asyncio.CancelledError:
            # The log closes and its disk does not answer: nobody waits for the thread any more.
            database.hand_over(roll_back, lambda _: None)
            raise
        except BaseException:
            # In the thread, and so after whatever of this transaction is still at work there.
            await database.in_thread(roll_back)
            raise
        return results

    def _fail(self, group: Sequence[LogWrite], error: Exception) -> None:
        """Nothing of the group is in the log. Whoever waits gets the error; the rest keeps its place."""
        given_up = self._queue.put_back(group)
        _logger.error("the saga log can't be written", error=str(error), writes=len(given_up))
        for write in given_up:
            if write.done and not write.done.done():
                write.done.set_exception(LogUnavailable(f"the saga log can't be written: {error}"))
        self._on(Event.FAILED)


@asynccontextmanager
async def open_writer(
    database: Database,
    release_room: Callable[[], bool],
    *,
    close_s: float = CLOSE_S,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[GroupWriter]:
    """A GroupWriter with its task. On leaving, what is queued is written, unless that takes longer than `close_s`."""
    writer = GroupWriter(database, release_room, monotonic_s=monotonic_s)
    task = asyncio.create_task(writer.run(), name="saga log")
    try:
        yield writer
    finally:
        writer.close()
        await _ended(task, close_s)


async def _ended(task: asyncio.Task[None], close_s: float) -> None:
    try:
        await asyncio.wait({task}, timeout=close_s)
    except (
        asyncio.CancelledError
    ):  # queued rows must reach the disk, also when the process is being cancelled
        await asyncio.wait({task}, timeout=close_s)
        raise
    if task.done():
        task.result()
    else:
        task.cancel()
        _logger.error(
            "the saga log could not write its last rows: its disk does not answer", waited_s=close_s
        )


def _settle(write: LogWrite, result: Written) -> None:
    if write.done is None:
        if isinstance(result, Exception):
            _logger.error("a row of the saga log was not written", error=str(result))
    elif not write.done.done():  # whoever waited may have been cancelled
        if isinstance(result, Exception):
            write.done.set_exception(result)
        else:
            write.done.set_result(result)
