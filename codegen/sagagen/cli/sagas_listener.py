"""`sagagen sagas` on a running gateway, over its admin listener."""

import asyncio
import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from sagagen.cli.profiles import is_name, profile
from sagagen.cli.sagas_user import os_user
from sagagen.runtime.addresses import Address
from sagagen.runtime.admin.gate import OPERATOR_HEADER
from sagagen.runtime.model.definition import Mesh
from sagagen.runtime.model.security import ApiKeyScheme
from sagagen.runtime.process.project import Project, ProjectError
from sagagen.runtime.saga.commands import Act
from sagagen.runtime.secret_file import Secret
from sagagen.runtime.settings import ADMIN_TOKEN
from sagagen.workspace.project import ProjectNotFound, find_root

TIMEOUT_S = 30.0
"""Seconds. A command waits for the saga's current call, which may take its whole timeout."""
ADMIN_KEY = "SAGAGEN_ADMIN_KEY"
ADMIN_KEY_HEADER = "SAGAGEN_ADMIN_KEY_HEADER"
"""Where the key goes; without it, where the project's contract says, otherwise to USUAL_KEY_HEADER."""
USUAL_KEY_HEADER = "X-Api-Key"


class AdminError(Exception):
    """The admin listener can't be reached, or refuses; the message is for the person who asked."""


class OrderRefused(AdminError):
    """This saga does not take the order; others may."""


_OF_THIS_SAGA = (400, 404, 409)
"""Statuses of the admin listener."""
_WHO_ASKS = f"a token is read from {ADMIN_TOKEN} or {ADMIN_TOKEN}_FILE, an API key from {ADMIN_KEY} or {ADMIN_KEY}_FILE"


def credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """Header fields that say who asks, by what this environment has. Raises SettingsError."""
    fields: dict[str, str] = {}
    if token := Secret.read(environment, ADMIN_TOKEN, at_least=1):
        fields["authorization"] = f"Bearer {token.current.decode(errors='surrogateescape')}"
    if key := Secret.read(environment, ADMIN_KEY, at_least=1):
        header = environment.get(ADMIN_KEY_HEADER) or _header_of_project()
        fields[header] = key.current.decode(errors="surrogateescape")
    return fields


def _header_of_project() -> str:
    mesh = mesh_of_project()
    schemes = mesh.security.schemes if mesh and mesh.security else ()
    headers = [scheme.header for scheme in schemes if isinstance(scheme, ApiKeyScheme)]
    return headers[0] if headers else USUAL_KEY_HEADER


def mesh_of_project() -> Mesh | None:
    """The current project's; None outside a project: then only the names of steps are known."""
    try:
        return Project.load(find_root(None)).mesh
    except (ProjectNotFound, ProjectError):
        return None


def listener_at(text: str, option: str = "--admin") -> tuple[Address, bool]:
    """`host:port`, or a URL; and whether it speaks TLS. Raises SettingsError, which names the option."""
    address = text.removeprefix("http://").removeprefix("https://").rstrip("/")
    return Address.parse(address, option), text.startswith("https://")


def admin_listener(admin: str, environment: Mapping[str, str]) -> "AdminListener":
    """At an address, or where a profile of this name says. Raises SettingsError."""
    if is_name(admin):
        found = profile(admin, environment)
        admin, environment = found.admin, found.over(environment)
    return AdminListener(*listener_at(admin), credentials(environment), environment.get("SSL_CERT_FILE"))


class AdminListener:
    """A running gateway, over its admin listener."""

    def __init__(
        self, address: Address, is_tls: bool, fields: Mapping[str, str], ca_file: str | None = None
    ) -> None:
        """`fields` are header fields that say who asks. Nothing that is secret is said of them.

        `ca_file` names the certificates of who signed the listener's; None: those that the machine knows.
        """
        # As the address of a listener, 0.0.0.0 means every address of this machine, including loopback.
        self._host = "127.0.0.1" if address.host == "0.0.0.0" else address.host
        self._address = address
        self._is_tls = is_tls
        self._ca_file = ca_file
        self._fields = {OPERATOR_HEADER: quote(os_user()), **fields}

    async def list(self, asked: Mapping[str, str]) -> Mapping[str, Any]:
        return await self._call("GET", f"/sagas?{_query(asked)}")

    async def show(self, saga_id: str) -> Mapping[str, Any]:
        return await self._call("GET", f"/sagas/{quote(saga_id, safe='')}")

    async def history(self, saga_id: str) -> Mapping[str, Any]:
        return await self._call("GET", f"/sagas/{quote(saga_id, safe='')}/history")

    async def command(self, saga_id: str, act: Act | str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._call("POST", f"/sagas/{quote(saga_id, safe='')}/{act}", given)

    async def send(self, saga_id: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self.command(saga_id, "send", given)

    async def stats(self) -> Mapping[str, Any]:
        return await self._call("GET", "/stats")

    async def groups(self) -> Mapping[str, Any]:
        return await self._call("GET", "/sagas/groups")

    async def steps(self, asked: Mapping[str, str]) -> Mapping[str, Any]:
        return await self._call("GET", f"/steps?{_query(asked)}")

    async def orders(self) -> Mapping[str, Any]:
        return await self._call("GET", "/orders")

    async def order(self, order_id: str) -> Mapping[str, Any]:
        return await self._call("GET", f"/orders/{quote(order_id, safe='')}")

    async def confirm(self, order_id: str) -> Mapping[str, Any]:
        return await self._call("POST", f"/orders/{quote(order_id, safe='')}/confirm", {})

    async def withdraw(self, order_id: str) -> Mapping[str, Any]:
        return await self._call("POST", f"/orders/{quote(order_id, safe='')}/withdraw", {})

    async def audit(self, asked: Mapping[str, str]) -> Mapping[str, Any]:
        return await self._call("GET", f"/audit?{_query(asked)}")

    async def _call(self, verb: str, path: str, given: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        return await asyncio.to_thread(self._send, verb, path, given)

    def _send(self, verb: str, path: str, given: Mapping[str, Any] | None) -> Mapping[str, Any]:
        connection = self._connection()
        # Without `by` where nobody named one: then it is whoever the listener knows, or the user of this machine.
        body = (
            None if given is None else json.dumps({k: v for k, v in given.items() if k != "by" or v}).encode()
        )
        headers = self._fields if body is None else {**self._fields, "content-type": "application/json"}
        try:
            connection.request(verb, path, body, headers)
            response = connection.getresponse()
            answered = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise AdminError(
                f"no gateway's admin listener answers on {self._address} ({error}): is it running? Name "
                f"another one with --admin host:port, or a log at rest with --log var/saga-log.db"
            ) from error
        finally:
            connection.close()
        if response.status not in (200, 202):
            raise _error(response.status, str(answered.get("detail", response.reason)))
        return answered

    def _connection(self) -> http.client.HTTPConnection:
        if self._is_tls:
            context = ssl.create_default_context(cafile=self._ca_file)
            return http.client.HTTPSConnection(
                self._host, self._address.port, timeout=TIMEOUT_S, context=context
            )
        return http.client.HTTPConnection(self._host, self._address.port, timeout=TIMEOUT_S)


def _query(asked: Mapping[str, str]) -> str:
    return urlencode({name: value for name, value in asked.items() if value})


def _error(status: int, detail: str) -> AdminError:
    if status in _OF_THIS_SAGA:
        return OrderRefused(detail)
    if status == 401:
        return AdminError(f"the admin listener does not know who asks: {detail} ({_WHO_ASKS})")
    if status == 403:
        return AdminError(f"the admin listener does not let you do that: {detail}")
    return AdminError(detail)
