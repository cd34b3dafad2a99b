"""The folder in which buf runs: the project's modules, what it says about them, and what they import of the built-in.

The project's own buf configuration counts, whatever its version: its modules, its rules, its dependencies. Modules of
the registry that are built in are not fetched, so contracts with no other dependencies need no network.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sagagen.contract.dependencies import COMMON, VALIDATE, dependency_texts, imports
from sagagen.contract.proto_files import proto_files

CONTRACTS = "contracts"
BUILT_IN = "sagagen-built-in"
"""The folder of the built-in files, a module like the project's own."""
CONFIG_FILES = frozenset({"buf.yaml", "buf.lock", "buf.gen.yaml", "buf.work.yaml"})
OUR_LINT = {"use": ["STANDARD"], "except": ["ENUM_VALUE_PREFIX"]}
"""Enums nest in their message, as AIP-126 writes them, so their values need no prefix."""
OUR_BREAKING = {"use": ["FILE"]}
"""The strictest category: it keeps generated code, file by file."""
GOOGLEAPIS = "buf.build/googleapis/googleapis"
PROTOVALIDATE = "buf.build/bufbuild/protovalidate"
SUPPLIED = frozenset({GOOGLEAPIS, PROTOVALIDATE, "buf.build/protocolbuffers/wellknowntypes"})
"""Modules of buf's registry whose files are built in here, or in buf."""
_PATH_LISTS = frozenset({"excludes", "includes", "ignore"})

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """What a workspace has."""

    modules: tuple[str, ...]
    """Folders of the project, relative to its root."""
    configs: Mapping[str, Config]
    """Path in the workspace -> buf configuration."""
    fetched: frozenset[str]
    """Modules that buf fetches from a registry, those that they need included."""
    locks: Mapping[str, str]
    """Path in the workspace -> buf.lock in the project; only if anything is fetched."""

    @property
    def needs_registry(self) -> bool:
        return bool(self.fetched)

    def write(self, root: Path, folder: Path) -> None:
        for module in sorted(self.modules):
            _link(root / module, folder / module)
        for name, text in self._built_in(root).items():
            path = folder / BUILT_IN / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        (folder / BUILT_IN).mkdir(exist_ok=True)
        for name, config in self.configs.items():
            (folder / name).write_text(json.dumps(config), "utf-8")
        for name, lock in self.locks.items():
            (folder / name).write_bytes((root / lock).read_bytes())

    def _built_in(self, root: Path) -> dict[str, str]:
        """But for those that the project has itself, or buf fetches."""
        protos = [root / path for module in self.modules for path in proto_files(root, module)]
        wanted = {name for path in protos for name in imports(path.read_text("utf-8", errors="replace"))}
        return {name: text for name, text in dependency_texts(wanted).items() if self._lacks(root, name)}

    def _lacks(self, root: Path, name: str) -> bool:
        module = GOOGLEAPIS if COMMON.fullmatch(name) else PROTOVALIDATE if name == VALIDATE else ""
        return module not in self.fetched and not any((root / own / name).exists() for own in self.modules)


def layout_of(root: Path) -> Layout | None:
    """None if the project's own buf configuration can't be read, or does not have contracts/ as a module."""
    path = next((path for path in ("buf.yaml", f"{CONTRACTS}/buf.yaml") if (root / path).is_file()), None)
    if path is None:
        return _layout_of_version_1(root, {}) if (root / "buf.work.yaml").is_file() else _our_own()
    config = _read(root / path)
    if config is None:
        return None
    if config.get("version") == "v2":
        return _layout_of_version_2(root, path, config)
    return _layout_of_version_1(root, config) if config.get("version") in {"v1", "v1beta1"} else None


def _our_own() -> Layout:
    config = {"version": "v2", "modules": _modules([CONTRACTS]), "lint": OUR_LINT, "breaking": OUR_BREAKING}
    return Layout((CONTRACTS,), {"buf.yaml": config}, frozenset(), {})


def _layout_of_version_2(root: Path, path: str, config: Config) -> Layout | None:
    """Paths are relative to the buf.yaml, and here imports to contracts/, even if the module is the whole project."""
    base = PurePosixPath(path).parent
    said = cast(list[dict[str, Any]], config.get("modules") or [{"path": "."}])
    modules = [{"path": CONTRACTS, **cast(dict[str, Any], _below(base, module))} for module in said]
    for module in modules:
        module["path"] = CONTRACTS if module["path"] == "." else module["path"]
    paths = [str(module["path"]) for module in modules]
    if CONTRACTS not in paths:
        return None
    lock = str(base / "buf.lock")
    fetched, deps = _dependencies(root / lock, config)
    settings = {key: _below(base, config[key]) for key in ("lint", "breaking") if key in config}
    named = {"deps": deps} if deps else {}
    whole = {
        "version": "v2",
        "modules": [*modules, *_modules([])],
        "breaking": OUR_BREAKING,
        **settings,
        **named,
    }
    locks = {"buf.lock": lock} if fetched and (root / lock).is_file() else {}
    return Layout(tuple(dict.fromkeys(paths)), {"buf.yaml": whole}, fetched, locks)


def _modules(paths: Iterable[str]) -> list[dict[str, str]]:
    return [{"path": path} for path in (*paths, BUILT_IN)]


def _below(base: PurePosixPath, value: object, key: str = "") -> Any:
    """The same settings, with paths that are relative to the root."""
    if isinstance(value, dict):
        items = cast(dict[str, object], value).items()
        paths = key == "ignore_only"
        return {name: _below(base, inner, "ignore" if paths else name) for name, inner in items}
    if isinstance(value, list):
        return [_below(base, inner, key) for inner in cast(list[object], value)]
    if isinstance(value, str) and (key == "path" or key in _PATH_LISTS):
        return str(base / value)
    return value


def _layout_of_version_1(root: Path, config: Config) -> Layout | None:
    """Each module has its own buf.yaml; buf.work.yaml lists them."""
    work = _read(root / "buf.work.yaml") if (root / "buf.work.yaml").is_file() else {}
    directories = cast(Sequence[str], (work or {}).get("directories", [CONTRACTS]))
    if CONTRACTS not in directories:
        return None
    configs: dict[str, Config] = {"buf.work.yaml": {"version": "v1", "directories": [*directories, BUILT_IN]}}
    fetched: set[str] = set()
    locks: dict[str, str] = {}
    for directory in directories:
        own = _read(root / directory / "buf.yaml") if (root / directory / "buf.yaml").is_file() else None
        said = own or (config if directory == CONTRACTS else {})
        lock = f"{directory}/buf.lock"
        found, deps = _dependencies(root / lock, said)
        fetched |= found
        if found and (root / lock).is_file():
            locks[lock] = lock
        if said:
            configs[f"{directory}/buf.yaml"] = {**_without(said, "deps"), **({"deps": deps} if deps else {})}
    return Layout(tuple(directories), configs, frozenset(fetched), locks)


def _without(config: Config, key: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != key}


def _dependencies(lock: Path, config: Config) -> tuple[frozenset[str], list[str]]:
    """What buf fetches in all, and what is left to name: nothing if all that is named is built in."""
    named = cast(list[str], config.get("deps") or [])
    others = [name for name in named if _module_name(name) not in SUPPLIED]
    if not others:
        return frozenset(), []
    locked = _read(lock) if lock.is_file() else {}
    fetched = {*map(_module_name, named), *_locked(locked or {})}
    return frozenset(fetched), named


def _module_name(dependency: str) -> str:
    return dependency.partition(":")[0]


def _locked(lock: Config) -> Iterator[str]:
    for entry in cast(list[dict[str, str]], lock.get("deps") or []):
        # The second is version v1's.
        yield entry.get("name") or "/".join(entry.get(part, "") for part in ("remote", "owner", "repository"))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        config = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))  # pyright: ignore
    except (OSError, YAMLError, UnicodeDecodeError):
        return None
    return cast(dict[str, Any], config) if isinstance(config, dict) else None


def _link(module: Path, target: Path) -> None:
    """Links to what the module has, but for buf's configuration. A module in another one is there already."""
    if target.exists() or not module.is_dir():
        return
    target.mkdir(parents=True)
    for entry in module.iterdir():
        if entry.name not in CONFIG_FILES:
            (target / entry.name).symlink_to(entry.resolve(), entry.is_dir())
