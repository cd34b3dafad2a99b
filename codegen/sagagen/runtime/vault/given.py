"""The keys that the environment names."""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from sagagen.runtime.startup import SettingsError
from sagagen.runtime.vault.keys import VARIABLE, KeyWrapper, read_keys

WRAPPER = "SAGAGEN_KEY_WRAPPER"
"""`package.module:name` of a KeyWrapper, in place of a file."""


def is_given(environment: Mapping[str, str]) -> bool:
    """The environment names keys for all databases."""
    return bool(environment.get(VARIABLE) or environment.get(WRAPPER))


def given_keys(
    environment: Mapping[str, str], service: str = "", root: Path | None = None
) -> KeyWrapper | None:
    """What databases are encrypted by; None if nothing is. Read once, when a process starts.

    `service`: whose database; SAGAGEN_<SERVICE>_ENCRYPTION_KEYS_FILE names keys of its own. `root` is the project's
    folder, in which a wrapper's module is looked for. Raises SettingsError.
    """
    own = f"SAGAGEN_{service.upper()}_ENCRYPTION_KEYS_FILE"
    variable = own if service and environment.get(own) else VARIABLE
    file, wrapper = environment.get(variable, ""), environment.get(WRAPPER, "")
    if file and wrapper:
        raise SettingsError(f"{variable} and {WRAPPER} are both set; keep one")
    if wrapper:
        return _wrapper(wrapper, root)
    if not file:
        return None
    keys = read_keys(Path(file), variable)
    from sagagen.runtime.vault.vault import FileKeys

    return FileKeys(keys)


def _wrapper(named: str, root: Path | None) -> KeyWrapper:
    module, _, name = named.partition(":")
    if root is not None and str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        found: object = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f'{WRAPPER}="{named}" can\'t be used: {error}; write package.module:name of a KeyWrapper'
        ) from error
    if missing := [part for part in ("first", "ids", "wrap", "unwrap") if not hasattr(found, part)]:
        raise SettingsError(f'{WRAPPER}="{named}" is no KeyWrapper: it has no {", ".join(missing)}')
    return cast(KeyWrapper, found)
