"""What sagagen was installed from, as a requirement that installs the same again.

PEP 610: pip leaves a direct_url.json beside what it did not take from an index.
"""

import json
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import sagagen

VENDOR = "vendor"
"""Where a project keeps a wheel that no index has."""


@dataclass(frozen=True, slots=True)
class Origin:
    requirement: str
    """A line of requirements.txt."""
    wheel: Path | None = None
    """A file that the line expects in the project's folder VENDOR."""
    folder: Path | None = None
    """The folder of this machine that the line names: nothing but this machine can reach it."""


def origin() -> Origin:
    """Of the sagagen that runs."""
    try:
        said = distribution("sagagen").read_text("direct_url.json")
    except PackageNotFoundError:
        return _folder(Path(sagagen.__file__).parents[2])
    return (
        origin_of(cast(dict[str, Any], json.loads(said)))
        if said
        else Origin(f"sagagen=={sagagen.__version__}")
    )


def origin_of(direct_url: dict[str, Any]) -> Origin:
    """`direct_url`: the content of a direct_url.json."""
    url = str(direct_url["url"])
    local = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None
    below = f"#subdirectory={direct_url['subdirectory']}" if direct_url.get("subdirectory") else ""
    if "vcs_info" in direct_url:
        vcs = direct_url["vcs_info"]
        return Origin(f"sagagen @ {vcs['vcs']}+{url}@{vcs['commit_id']}{below}", folder=local)
    if local is None:
        return Origin(f"sagagen @ {url}{below}")
    return Origin(f"./{VENDOR}/{local.name}", wheel=local) if local.is_file() else _folder(local)


def _folder(folder: Path) -> Origin:
    return Origin(f"sagagen @ {folder.as_uri()}", folder=folder)


def reach(found: Origin) -> str:
    """What to do where CI and the image can't reach it; comment lines, or nothing."""
    if found.folder is None:
        return ""
    return (
        "# sagagen was installed from a folder of this machine, which neither CI nor the image can reach. Put a wheel\n"
        "# of it into the project, and commit that:\n"
        f"#   pip wheel --no-deps --wheel-dir {VENDOR} {found.folder}\n"
        f"# and write ./{VENDOR}/sagagen-{sagagen.__version__}-py3-none-any.whl in place of the line below.\n"
    )
