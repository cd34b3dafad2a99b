"""Private names of libraries in a package's source: what begins with one underscore and is not ours."""

import ast
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_DOCUMENTED = {"_replace", "_asdict", "_fields", "_make", "_exit"}
"""What the standard library documents although it begins with an underscore."""
_PATH = re.compile(r"[a-z]\w*(\.\w+)*\._[a-z]\w*([.:]\w+)*")
"""A private module's name in a string, for importlib."""
_ASKS_BY_NAME = {"getattr", "hasattr", "setattr", "delattr"}


@dataclass(frozen=True, order=True)
class Use:
    """A file uses a name."""

    file: str
    name: str


def uses(package: Path, name: str) -> Iterator[Use]:
    """Every private name of a library in the package's files, which are imported for it. Paths are relative to it."""
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package).as_posix()
        tree = ast.parse(path.read_text())
        module = ".".join([name, *Path(file).with_suffix("").parts]).removesuffix(".__init__")
        for found in {*_in_tree(tree, _inherited(module)), *_of_base_classes(tree, module)}:
            yield Use(file, found)


def imports(tree: ast.AST) -> Iterator[str]:
    """Modules and names that are imported, by their full names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _inherited(module: str) -> set[str]:
    """Names of the package's classes from which those of this module inherit."""
    found = importlib.import_module(module)
    ours = {
        base
        for _, our_class in inspect.getmembers(found, inspect.isclass)
        if our_class.__module__ == module
        for base in our_class.__mro__[1:]
        if base.__module__ != module and base.__module__.split(".")[0] == module.split(".")[0]
    }
    return {name for base in ours for name in _private_in(base)}


def _in_tree(tree: ast.AST, inherited: set[str]) -> Iterator[str]:
    own = _own(tree) | inherited
    slots = {each for node in ast.walk(tree) for each in _slots(node)}
    yield from (
        full for full in imports(tree) if _is_foreign(full) and any(map(_is_private, full.split(".")))
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and node.attr not in own:
            yield node.attr
        elif isinstance(node, ast.keyword) and node.arg and _is_private(node.arg) and node.arg not in own:
            yield node.arg
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _PATH.fullmatch(node.value):
            if _is_foreign(node.value):
                yield node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _ASKS_BY_NAME:
            yield from (name for name in _asked(node) if name not in slots)


def _asked(call: ast.Call) -> Iterator[str]:
    for argument in call.args[1:2]:
        if (
            isinstance(argument, ast.Constant)
            and isinstance(argument.value, str)
            and _is_private(argument.value)
        ):
            yield argument.value


def _of_base_classes(tree: ast.AST, module: str) -> Iterator[str]:
    """Names of ours that a library's class, from which one of ours inherits, has too: we override or touch its own."""
    found = importlib.import_module(module)
    for name, our_class in inspect.getmembers(found, inspect.isclass):
        if our_class.__module__ != module:
            continue
        theirs = {
            each
            for base in our_class.__mro__[1:]
            if _is_foreign(base.__module__)
            for each in _private_in(base)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name == name:
                yield from theirs & _own(node)


def _private_in(library_class: type) -> set[str]:
    try:
        source = textwrap.dedent(inspect.getsource(library_class))
    except (OSError, TypeError):  # written in C
        return {name for name in vars(library_class) if _is_private(name)}
    return {name for name in _own(ast.parse(source)) if _is_private(name)}


def _own(tree: ast.AST) -> set[str]:
    """Names that are defined here: functions, parameters, variables, and attributes that are assigned to."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            names.add(node.attr)
    names |= {each for node in ast.walk(tree) for each in _slots(node)}
    return names - {name for name in names if not _is_private(name)}


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _slots(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Assign) and any(
        isinstance(t, ast.Name) and t.id == "__slots__" for t in node.targets
    ):
        yield from (str(each.value) for each in ast.walk(node.value) if isinstance(each, ast.Constant))


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and len(name) > 1 and name not in _DOCUMENTED


def _is_foreign(module: str) -> bool:
    root = module.split(".")[0]
    return root not in sys.stdlib_module_names and root not in ("sagagen", "builtins")
