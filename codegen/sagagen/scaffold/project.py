"""Makes a project's folder from a template: contract, handlers, tests, and what is around them."""

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import sagagen
from sagagen.contract.words import PROJECT_NAME
from sagagen.scaffold.origin import VENDOR, origin, reach

_TEMPLATES = Path(__file__).with_name("templates")
_REPOSITORY = Path(sagagen.__file__).parents[2]
_PROJECT_LINE = re.compile(r"^project: .*$", re.MULTILINE)

COMMON = {
    "README.md": "README.md",
    "requirements.txt": "requirements.txt",
    "requirements-dev.txt": "requirements-dev.txt",
    "docker-compose.yml": "docker-compose.yml",
    "env": ".env",
    "gitignore": ".gitignore",
    "gitattributes": ".gitattributes",
    "pyproject.toml": "pyproject.toml",
    "Makefile": "Makefile",
    "workflow.yml": ".github/workflows/ci.yml",
}
"""File of the template -> file of the project."""
_FILLED_IN = frozenset({"README.md", "requirements.txt", "workflow.yml"})
_SHARED = ("contracts", "handlers")
"""Folders that this repository's own project is: the shop's template takes them from there."""
_OWNED = (*_SHARED, "gateway", "tests")
"""Folders of a template."""


_CONTRACT, _SAGAS = "contracts/saga.yaml", "\nsagas:\n"
_OPEN = re.compile(r"^security: none.*\n", re.MULTILINE)
_OF_THE_SHOP = """
# Nobody gets in without a key: `sagagen up` makes one for you, `sagagen keys new` for others.
security:
  schemes:
    clients: { type: api_key, header: X-Api-Key }
  default: { any_of: [clients] }
  routes:
    shop.checkout.v1.CheckoutService/PlaceOrder: { scopes: [orders.write] }
    shop.order.v1.OrderService/GetOrder: { scopes: [orders.read] }
    shop.inventory.v1.InventoryService/GetStock: public
"""
"""Who may call what: this repository's own shop, the smallest example, leaves it open."""


class Template(StrEnum):
    MINIMAL = "minimal"
    SHOP = "shop"
    DELIVERY = "delivery"

    @property
    def summary(self) -> str:
        """What a project of it does, in a sentence."""
        return _SUMMARIES[self]


_SUMMARIES = {
    Template.MINIMAL: "One service and one saga: a seat is held, then confirmed or given back.",
    Template.SHOP: "Orders, stock and payment: a straight line of calls that ends confirmed, or is undone.",
    Template.DELIVERY: "Dinner is brought: branches, a loop, a person's answer, a time-out and a customer who cancels.",
}


class CannotInit(Exception):
    """A project can't be created there; the message says why and what to do."""


def files_of(template: Template, name: str) -> dict[str, bytes]:
    """All files that a person owns, by path, without generated ones."""
    found = dict(_of_template(template))
    contract = _PROJECT_LINE.sub(f"project: {name}", found[_CONTRACT].decode(), count=1)
    if template is Template.SHOP:
        contract = _OPEN.sub("\n", contract, count=1).replace(_SAGAS, f"{_OF_THE_SHOP}{_SAGAS}", 1)
    found[_CONTRACT] = contract.encode()
    return found | dict(_common(template, name))


def _of_template(template: Template) -> Iterator[tuple[str, bytes]]:
    for root in (_TEMPLATES / template, *([_shop()] if template is Template.SHOP else [])):
        for folder in _OWNED if root == _TEMPLATES / template else _SHARED:
            for path in sorted((root / folder).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    yield path.relative_to(root).as_posix(), path.read_bytes()


def _shop() -> Path:
    """The shop's contract and handlers: packed into a release, beside the toolkit in its own repository."""
    packed = _TEMPLATES / "shop"
    return packed if (packed / "contracts").is_dir() else _REPOSITORY


def _common(template: Template, name: str) -> Iterator[tuple[str, bytes]]:
    found = origin()
    about = _TEMPLATES / template / "about.md"
    if found.wheel:
        yield f"{VENDOR}/{found.wheel.name}", found.wheel.read_bytes()
    filled_in = {"name": name, "requirement": found.requirement, "reach": reach(found)}
    filled_in["about"] = about.read_text("utf-8") if about.exists() else ""
    for source, target in COMMON.items():
        text = (_TEMPLATES / "common" / source).read_text("utf-8")
        if source in _FILLED_IN:
            text = text.format(**filled_in)
        yield target, text.encode()


def project_name(folder: Path) -> str:
    """The name of a project in that folder: lower case letters, digits, - and _. Raises CannotInit."""
    name = re.sub(r"[^a-z0-9_]+", "-", folder.name.lower()).strip("-_")
    if not PROJECT_NAME.fullmatch(name):
        raise CannotInit(f'no project name can be made from "{folder.name}": give one with --name')
    return name


def make_project(folder: Path, template: Template, name: str) -> list[str]:
    """Write the template's files. Returns their paths. Raises CannotInit if the folder holds anything but .git."""
    if folder.exists() and not folder.is_dir():
        raise CannotInit(f"{folder} is a file: name a new folder")
    in_the_way = (
        sorted(path.name for path in folder.iterdir() if path.name != ".git") if folder.exists() else []
    )
    if in_the_way:
        some = ", ".join(in_the_way[:3]) + (", ..." if len(in_the_way) > 3 else "")
        raise CannotInit(f"{folder} is not empty ({some}): nothing in it was touched; name a new folder")
    files = files_of(template, name)
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return sorted(files)
