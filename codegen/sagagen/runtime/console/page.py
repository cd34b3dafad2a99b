"""What a view is, what it is asked by, and what it answers."""

import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from sagagen.runtime.admin.deed import Deed
from sagagen.runtime.admin.gate import Admitted
from sagagen.runtime.console.desk import Desk

USUAL_PLACES = frozenset({"127.0.0.1:8081", "localhost:8081"})
"""Where the command line looks by itself."""


@dataclass(frozen=True)
class Visit:
    """Somebody who may look asks for a page, or sends a form."""

    desk: Desk
    request: Request
    admitted: Admitted
    deed: Deed
    csrf_token: str
    is_known: bool = False
    """They logged in, so they can log out."""
    is_again: bool = False
    """A page that is open asks what has changed: nobody reads anything for the first time."""

    @property
    def may_order(self) -> bool:
        return self.admitted.is_operator

    @cached_property
    def asked(self) -> Mapping[str, str]:
        """Parameters of the URL, without empty ones: a form sends those of its empty fields too."""
        return {name: value for name, value in self.request.query_params.items() if value}

    @property
    def root(self) -> str:
        """The path of the console."""
        return self.request.scope["root_path"]

    def path(self, path: str, /, **asked: object) -> str:
        """A URL within the console. Segments of `path` are quoted already; parameters that are empty are left out."""
        query = urlencode({name: value for name, value in asked.items() if value not in (None, "")})
        return f"{self.root}{path}{'?' if query else ''}{query}"

    def saga_path(self, saga_id: str, after: str = "") -> str:
        return f"{self.root}/sagas/{quote(saga_id, safe='')}{after}"

    def here(self, **changed: object) -> str:
        """This page with other parameters; None takes one away."""
        return self.path(self.own_path, **{**self.asked, **changed})

    @property
    def own_path(self) -> str:
        """Of this page, below the console."""
        return self.request.scope["path"].removeprefix(self.root)

    @cached_property
    def options(self) -> str:
        """The option by which the command line comes to this gateway, with a blank in front; empty if it needs none."""
        url = self.request.url
        if url.scheme == "http" and url.netloc in USUAL_PLACES:
            return ""
        place = url.netloc if url.scheme == "http" else f"{url.scheme}://{url.netloc}"
        return f" --admin {shlex.quote(place)}"


@dataclass(frozen=True)
class Page:
    title: str
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """For the template."""
    command: str = ""
    """The command line that shows the same, without `--admin`: `sagagen sagas list --status STUCK`."""
    template: str = ""
    """Another one than the view's own."""
    status_code: int = 200


@dataclass(frozen=True, slots=True)
class View:
    name: str
    """Of its template, and of the deed that the audit has where somebody may not look."""
    title: str
    """In the navigation."""
    path: str
    """Below the console, as Starlette's routes have it."""
    look: Callable[[Visit], Awaitable[Page | Response]]
    """A page, or an answer of its own: it leads somewhere else."""
    is_listed: bool = True
    """It stands in the navigation: it needs no saga."""
    is_live: bool = True
    is_for_operators: bool = False
    """Its page shows payloads."""


Given = Mapping[str, str]
"""Fields of a form; of one that is there several times, the last."""


@dataclass(frozen=True, slots=True)
class Form:
    """What operators send, by POST."""

    path: str
    did: str
    """What the audit calls it; empty: the part of the path that is named `act`."""
    take: Callable[[Visit, Given], Awaitable["Page | Response"]]
