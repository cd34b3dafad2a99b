"""Gateways by name: `--admin prod` is the admin listener that a file of the user's calls so."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagagen.diagnostics import did_you_mean
from sagagen.runtime.settings import ADMIN_TOKEN
from sagagen.runtime.startup import SettingsError

PROFILES = "SAGAGEN_PROFILES"
"""Names another file than the usual one."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_KEYS = ("admin", "token_file", "key_file", "key_header", "ca_file")


_WHO_ASKS = re.compile(r"SAGAGEN_ADMIN_(?:TOKEN|KEY)(?:_FILE|_HEADER)?")


@dataclass(frozen=True, slots=True)
class Profile:
    """Where a gateway's admin listener is, and by what it knows who asks."""

    admin: str
    """`host:port`, or a URL."""
    variables: Mapping[str, str]
    """As if these were set."""

    def over(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The environment as it is for this gateway: where the profile says who asks, nobody else does."""
        says_who = any(_WHO_ASKS.fullmatch(name) for name in self.variables)
        kept = {n: v for n, v in environment.items() if not (says_who and _WHO_ASKS.fullmatch(n))}
        return {**kept, **self.variables}


def is_name(text: str) -> bool:
    """It is the name of a profile, and no address: those have a port or a scheme."""
    return _NAME.fullmatch(text) is not None


def profile(name: str, environment: Mapping[str, str] = os.environ) -> Profile:
    """Raises SettingsError if there is none of this name, or if it can't be read."""
    file = _file(environment)
    try:
        profiles = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(
            f'--admin "{name}" is no address (host:port), and {file}, which could say what it is, does not exist: '
            f'make it, with [{name}] and admin = "https://host:port"'
        ) from error
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file} can't be read: {error}") from error
    if name not in profiles:
        hint = did_you_mean(name, list(profiles))
        raise SettingsError(f'{file} has no profile "{name}"; {hint}')
    return _read(name, profiles[name], file)


def _file(environment: Mapping[str, str]) -> Path:
    if given := environment.get(PROFILES):
        return Path(given)
    base = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "sagagen" / "profiles.toml"


def _read(name: str, given: Any, file: Path) -> Profile:
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        raise SettingsError(f"{file}: [{name}] is a table of texts")
    texts: dict[str, str] = given  # pyright: ignore[reportUnknownVariableType]
    if unknown := sorted(texts.keys() - set(_KEYS)):
        secret = " A secret stands in a file of its own: name it." if unknown[0] in ("token", "key") else ""
        raise SettingsError(f"{file}: [{name}] has no {unknown[0]}; it takes {', '.join(_KEYS)}.{secret}")
    if "admin" not in texts:
        raise SettingsError(f'{file}: [{name}] says where the listener is: admin = "https://host:port"')
    variables = {
        "token_file": f"{ADMIN_TOKEN}_FILE",
        "key_file": "SAGAGEN_ADMIN_KEY_FILE",
        "key_header": "SAGAGEN_ADMIN_KEY_HEADER",
        "ca_file": "SSL_CERT_FILE",
    }
    return Profile(
        texts["admin"],
        {
            variable: texts[key] if key == "key_header" else str(file.parent / Path(texts[key]).expanduser())
            for key, variable in variables.items()
            if key in texts
        },
    )
