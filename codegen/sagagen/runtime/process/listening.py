"""A listener that cannot listen says which setting decides where."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from sagagen.runtime.addresses import Address
from sagagen.runtime.startup import PortTaken, SettingsError


@asynccontextmanager
async def listening(
    server: AbstractAsyncContextManager[object], address: Address, variable: str
) -> AsyncGenerator[None]:
    """Run `server`. Raises SettingsError, naming the variable that decides, where it cannot listen on `address`."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(server)
        except PortTaken as taken:
            raise SettingsError(f"{taken}; set {variable} to listen elsewhere") from taken
        except OSError as error:
            message = (
                f"cannot listen on {address}: {error.strerror}; set {variable} to an address of this machine"
            )
            raise SettingsError(message) from error
        yield
