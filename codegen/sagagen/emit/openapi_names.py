"""Names in the document that stay apart, also in programs that are generated from it.

Such programs make names of their own from ours: they drop what separates words, and often case. So `a.Order.Status` and
`a.OrderStatus` would become one class, and the operations `S_Echo/X` and `S/Echo_X` one function. Whoever comes first
keeps its plain name, whatever is added behind it; packages of later versions of an API come behind.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, count

from google.protobuf.descriptor import MethodDescriptor

from sagagen.contract.model import Route

_SEPARATORS = re.compile(r"[\W_]+")


class Taken:
    """Names of one kind that have been given away."""

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._seen = {_heard(name) for name in reserved}

    def allot(self, *wishes: str) -> str:
        """The first wish that is still free; the last one numbered, if none is."""
        numbered = (f"{wishes[-1]}_{number}" for number in count(2))
        name = next(one for one in chain(wishes, numbered) if _heard(one) not in self._seen)
        self._seen.add(_heard(name))
        return name


def _heard(name: str) -> str:
    return _SEPARATORS.sub("", name).casefold()


def operation_ids(routes: Sequence[Route], reserved: Iterable[str]) -> Iterator[str]:
    """One for each route, in the order of the routes. `reserved`: the gateway's own."""
    taken = Taken(reserved)
    methods = {route.method.full_name: route.method for route in routes}
    first = {name: taken.allot(*_wishes(method)) for name, method in sorted(methods.items())}
    seen: dict[str, int] = {}
    for route in routes:
        name = route.method.full_name
        seen[name] = seen.get(name, 0) + 1
        yield first[name] if seen[name] == 1 else taken.allot(f"{first[name]}_{seen[name]}")


def _wishes(method: MethodDescriptor) -> tuple[str, str]:
    service = method.containing_service
    return f"{service.name}_{method.name}", f"{service.full_name.replace('.', '_')}_{method.name}"


def component_names(own: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """What each component is called: `own` as they wish, the `others`, by name -> wish, as is still possible."""
    taken = Taken(own.values())
    return {**own, **{name: taken.allot(wish) for name, wish in sorted(others.items())}}
