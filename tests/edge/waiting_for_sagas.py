"""Waiting until an engine has nothing to do."""

import asyncio

from edge_library import Served


async def until_over(running: Served) -> None:
    """Return when no saga is under way."""
    async with asyncio.timeout(60):
        await running.engine.wait_until_idle()
