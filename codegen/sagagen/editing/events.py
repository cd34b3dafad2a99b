"""`sagagen add event`: what may come to a saga from outside while it runs."""

from google.protobuf.descriptor import MethodDescriptor

from sagagen.contract.loading import SAGA_YAML
from sagagen.editing.addition import Addition
from sagagen.editing.contract import Contract, text_of, unknown
from sagagen.editing.methods import Methods
from sagagen.editing.names import check_name
from sagagen.editing.text import CannotAdd
from sagagen.editing.yaml_insert import Value
from sagagen.source import Mapping as MappingNode


def add_event(contract: Contract, saga: str, name: str, rpc: str, saga_id: str | None) -> Addition | None:
    """None if it is already there. Raises CannotAdd."""
    check_name("event", name)
    sagas = {entry.key.text: entry.value for entry in contract.entries("sagas")}
    if saga not in sagas:
        raise unknown("saga", saga, list(sagas), "`sagagen add saga` adds one")
    there = _there(sagas[saga], name)
    if there is not None and text_of(there, "rpc") == rpc:
        return None
    if there is not None:
        raise CannotAdd(f'there is already an event "{name}", which {text_of(there, "rpc")} brings')
    found = Methods.of(contract).event(rpc)
    value: dict[str, Value] = {"rpc": rpc, "saga_id": saga_id or f"event.{_field_of_id(found)}"}
    yaml = contract.yaml.with_entry(("sagas", saga, "events"), name, value)
    following = (f"sagagen add step {saga} NAME --wait {name}", "sagagen generate")
    return Addition({SAGA_YAML: yaml}, (f"{SAGA_YAML}: event {name} of {saga}",), following)


def _there(saga: object, name: str) -> object:
    events = saga.get("events") if isinstance(saga, MappingNode) else None
    return events.get(name) if isinstance(events, MappingNode) else None


def _field_of_id(rpc: MethodDescriptor) -> str:
    """The only field that may hold the saga's id. Raises CannotAdd if there is none, or more than one."""
    fields = [
        field.name
        for field in rpc.input_type.fields
        if field.type == field.TYPE_STRING and not field.is_repeated and field.name.endswith("id")
    ]
    if len(fields) == 1:
        return fields[0]
    known = [field.name for field in rpc.input_type.fields]
    example = f"event.{(fields or known or ['saga_id'])[0]}"
    raise CannotAdd(f"say which saga an event is for: --saga-id {example}")
