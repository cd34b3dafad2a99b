"""The imports of one generated module: each name once, with a different local name if it would collide."""

from collections.abc import Iterable, Iterator
from itertools import chain, count

from sagagen.python_names import PB_PACKAGE, Import, PyClass, class_name


class Imports:
    """Grows while a module is rendered; read `statements` at the end."""

    def __init__(self, defined: Iterable[str]) -> None:
        """`defined`: every name that the module itself defines, or that its template imports."""
        self._used: set[str] = set(defined)
        self._local: dict[tuple[str, str], str] = {}
        self._plain: set[str] = set()

    def refer(self, py_class: PyClass) -> str:
        """The local name of a message class or enum, importing it."""
        return self.name(py_class.module, py_class.name)

    def name(self, module: str, name: str, wish: str = "") -> str:
        """The local name of `name` from `module`: `wish`, or the name itself, if it is still free here."""
        if (module, name) not in self._local:
            wishes = chain([wish or name], _aliases(module, name))
            local = next(wish for wish in wishes if wish not in self._used)
            self._used.add(local)
            self._local[module, name] = local
        return self._local[module, name]

    def add(self, wanted: Import) -> None:
        """An import whose exact name the text relies on."""
        self._plain.add(_statement(wanted.module, wanted.name, wanted.alias or wanted.name))

    @property
    def statements(self) -> tuple[str, ...]:
        named = {_statement(module, name, local) for (module, name), local in self._local.items()}
        return tuple(sorted(named | self._plain))


def _aliases(module: str, name: str) -> Iterator[str]:
    """`OrderV1Item` and `ORDER_CREATE`, then with more of the module's path, then numbered."""
    parts = module.removeprefix(f"{PB_PACKAGE}.").split(".")
    shortest = 1 if name.isupper() else min(2, len(parts))
    for n in range(shortest, len(parts) + 1):
        yield _joined(parts[-n:], name)
    yield from (f"{_joined(parts, name)}{n}" for n in count(2))


def _joined(parts: list[str], name: str) -> str:
    return "_".join([*parts, name]).upper() if name.isupper() else class_name("_".join(parts)) + name


def _statement(module: str, name: str, local: str) -> str:
    if not name:
        return f"import {module} as {local}" if local else f"import {module}"
    return f"from {module} import {name}" if local == name else f"from {module} import {name} as {local}"
