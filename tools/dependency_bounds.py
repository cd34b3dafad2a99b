"""The oldest and the newest set of dependencies that pyproject.toml allows, as constraints for pip.

    python tools/dependency_bounds.py lowest > lowest.txt   # a `==` pin at the lower bound of each
    python tools/dependency_bounds.py newest > newest.txt   # the ranges as they are: pip takes the newest of each

Only direct dependencies are pinned; what they need themselves pip chooses, as it does for a user.
"""

import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

Bound = Literal["lowest", "newest"]
EXTRAS = ("codegen", "dev")
"""What a run of the tests installs beside the dependencies themselves."""


class BoundsError(Exception):
    """pyproject.toml names no bound where one is needed; the message says which."""


def requirements(project: Mapping[str, Any]) -> Iterator[Requirement]:
    """Every direct dependency of a `[project]` table, of its extras too."""
    for text in project["dependencies"]:
        yield Requirement(text)
    for extra in EXTRAS:
        for text in project["optional-dependencies"][extra]:
            yield Requirement(text)


def lowest(needed: Iterable[Requirement]) -> list[str]:
    """A pin for each name, at the highest of its lower bounds, in order of names. Raises BoundsError without one."""
    pins: dict[str, str] = {}
    for requirement in needed:
        marker = f"; {requirement.marker}" if requirement.marker else ""
        pins[requirement.name] = f"{requirement.name}=={_lower_bound(requirement)}{marker}"
    return [pins[name] for name in sorted(pins, key=str.lower)]


def newest(needed: Iterable[Requirement]) -> list[str]:
    """Each name with its range, which pip reads as "the newest that is allowed"."""
    ranges: dict[str, str] = {}
    for requirement in needed:
        marker = f"; {requirement.marker}" if requirement.marker else ""
        ranges[requirement.name] = f"{requirement.name}{requirement.specifier}{marker}"
    return [ranges[name] for name in sorted(ranges, key=str.lower)]


def _lower_bound(requirement: Requirement) -> str:
    bounds = [each.version for each in requirement.specifier if each.operator in (">=", "==", "~=")]
    if len(bounds) != 1:
        raise BoundsError(f'"{requirement}" in pyproject.toml needs one lower bound, written with >=')
    return bounds[0]


def main(arguments: list[str]) -> int:
    """Print the constraints. Exit 2 for a wrong use or a bound that is missing."""
    if len(arguments) != 1 or arguments[0] not in ("lowest", "newest"):
        print("usage: dependency_bounds.py lowest|newest", file=sys.stderr)
        return 2
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    try:
        lines = (lowest if arguments[0] == "lowest" else newest)(requirements(project))
    except BoundsError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
