"""Where a listener is, and what is said where it can't be there."""

import ipaddress
import socket
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace

from sagagen.runtime.addresses import Address
from sagagen.runtime.startup import PortTaken, SettingsError


def own(address: Address) -> Address:
    """The one that is this machine's, of a name that stands for several, as replicas of a container have one in common.

    What stands for one, or is loopback, stays as it is.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError:
        return address  # who listens says what is wrong
    hosts = list(dict.fromkeys((family, str(where[0])) for family, _, _, _, where in found))
    if len(hosts) < 2 or any(ipaddress.ip_address(host.partition("%")[0]).is_loopback for _, host in hosts):
        return address
    return next((replace(address, host=host) for family, host in hosts if _is_ours(family, host)), address)


def _is_ours(family: int, host: str) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        try:
            tried.bind((host, 0))
        except OSError:
            return False
    return True


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
