"""Large messages are read by a thread of their own, one after the other, so that the loop goes on meanwhile.

Reading holds Python's lock for milliseconds at a time, and no longer: the loop gets its turn in between. There is one
such thread, so that clients that send large messages wait for each other and not all others for them.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

LARGE_BYTES = 16 * 1024
"""Beyond it a message goes apart. So much of the dearest kind takes the loop about 20 ms."""

_reader = ThreadPoolExecutor(1, "large-messages")


async def apart(work: Callable[[], T]) -> T:
    """Run `work`, which reads a large message and touches nothing else, in the thread."""
    return await asyncio.get_running_loop().run_in_executor(_reader, work)
