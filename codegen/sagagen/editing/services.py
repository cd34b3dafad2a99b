"""`sagagen add service`: a service of the mesh, and the proto service that it implements."""

import difflib
import re
from collections import Counter

from sagagen.contract.buf import CONTRACTS
from sagagen.contract.loading import SAGA_YAML
from sagagen.editing.addition import Addition
from sagagen.editing.contract import VERSION, Contract
from sagagen.editing.names import check_name
from sagagen.editing.proto_insert import new_file, with_service
from sagagen.editing.text import CannotAdd
from sagagen.python_names import snake_case
from sagagen.workspace.source_text import SourceText

TOO_CLOSE = 0.95
"""Of full names: one letter more or less."""
SERVICE_NAME = re.compile(r"(?P<package>[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*)\.(?P<name>[A-Z][A-Za-z0-9]*)")


def add_service(contract: Contract, name: str, implements: str | None) -> Addition | None:
    """None if it is already there. Raises CannotAdd."""
    check_name("service", name)
    there = contract.services.get(name)
    if there is not None and (implements is None or implements in there):
        return None
    if there is not None:
        raise CannotAdd(f'there is already a service "{name}", which implements {", ".join(there)}')
    full_name = implements or _usual_name(contract, name)
    owner = contract.owner(full_name)
    if owner is not None:
        raise CannotAdd(f"the service {owner} already implements {full_name}")
    files, changes = proto_service(contract, full_name)
    yaml = contract.yaml.with_entry(("services",), name, {"implements": [full_name]})
    declared = contract.declaring(full_name)
    has_rpcs = declared is not None and any(found.keyword == "rpc" for found in declared[1].body())
    return Addition(
        {**files, SAGA_YAML: yaml},
        (*changes, f"{SAGA_YAML}: service {name}"),
        ("sagagen generate",) if has_rpcs else (f"sagagen add rpc {name}/METHOD", "sagagen generate"),
    )


def proto_service(contract: Contract, full_name: str) -> tuple[dict[str, SourceText], tuple[str, ...]]:
    """The file that declares a new proto service, and a line about it; nothing if it is already declared."""
    if contract.declaring(full_name) is not None:
        return {}, ()
    found = SERVICE_NAME.fullmatch(full_name)
    if found is None:
        raise CannotAdd(
            f'"{full_name}" is not the full name of a proto service, like shop.order.v1.OrderService'
        )
    package, name = found["package"], found["name"]
    siblings = [known for known in contract.proto_services if known.rpartition(".")[0] == package]
    if close := difflib.get_close_matches(full_name, siblings, n=1, cutoff=TOO_CLOSE):
        raise CannotAdd(
            f'no proto declares {full_name}: did you mean "{close[0]}"? To add a new one, use a less similar name'
        )
    path = f"{CONTRACTS}/{package.replace('.', '/')}/{snake_case(name.removesuffix('Service') or name)}.proto"
    if (contract.root / path).exists():
        proto = next((proto for proto in contract.protos if proto.path == path), None)
        if proto is None or proto.package != package:
            raise CannotAdd(
                f"{path} already exists, but its package is not {package}: declare {name} yourself"
            )
        return {path: with_service(proto, name)}, (f"{path}: service {name}",)
    return {path: SourceText(new_file(package, name), "utf-8", b"")}, (f"{path}: new, with service {name}",)


def _usual_name(contract: Contract, name: str) -> str:
    """`shop.shipping.v1.ShippingService` where the others are `shop.order.v1.OrderService`."""
    prefixes = Counter(_prefix(proto.package) for proto in contract.protos)
    prefix = prefixes.most_common(1)[0][0] if prefixes else ""
    words = "".join(word.capitalize() for word in name.split("_"))
    return f"{prefix}{name}.v1.{words}Service"


def _prefix(package: str) -> str:
    """The part before the last name and the version."""
    parts = package.split(".")
    parts = parts[:-2] if VERSION.fullmatch(parts[-1]) else parts[:-1]
    return "".join(f"{part}." for part in parts)
