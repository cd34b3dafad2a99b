"""`sagagen add saga`."""

from sagagen.contract.loading import SAGA_YAML
from sagagen.editing.addition import Addition
from sagagen.editing.contract import Contract, text_of
from sagagen.editing.names import check_name
from sagagen.editing.text import CannotAdd
from sagagen.editing.yaml_insert import Value


def add_saga(contract: Contract, name: str, trigger: str) -> Addition | None:
    """None if it is already there. Raises CannotAdd."""
    check_name("saga", name)
    there = next((entry.value for entry in contract.entries("sagas") if entry.key.text == name), None)
    if there is not None and text_of(there, "trigger") == trigger:
        return None
    if there is not None:
        raise CannotAdd(f'there is already a saga "{name}", triggered by {text_of(there, "trigger")}')
    value: dict[str, Value] = {"version": "1", "trigger": trigger, "steps": []}
    yaml = contract.yaml.with_entry(("sagas",), name, value, spaced=True, levels=2)
    return Addition(
        {SAGA_YAML: yaml},
        (f"{SAGA_YAML}: saga {name}",),
        (f"sagagen add step {name} NAME --call SERVICE/METHOD",),
    )
