"""`sagagen add rpc`: an rpc with its messages, in the proto file of its service."""

from dataclasses import dataclass

from sagagen.diagnostics import did_you_mean
from sagagen.editing.addition import Addition
from sagagen.editing.contract import Contract, unknown
from sagagen.editing.names import check_method
from sagagen.editing.proto_insert import Http, NewRpc, with_rpc
from sagagen.editing.proto_outline import ProtoOutline, Statement, rpcs
from sagagen.editing.services import proto_service
from sagagen.editing.text import CannotAdd
from sagagen.runtime.edge.paths.template import TemplateError, parse_template

FORM = "write it as service/Method, for example order/ShipOrder"
VERBS = ("get", "put", "post", "delete", "patch")


def add_rpc(contract: Contract, name: str, *, is_read: bool, http: str | None) -> Addition | None:
    """None if it is already there. Raises CannotAdd."""
    service, slash, method = name.partition("/")
    if not slash or not service or not method:
        raise CannotAdd(f'"{name}" does not name an rpc: {FORM}')
    check_method(method)
    rpc = NewRpc(method, is_read, _http(http, is_read=is_read))
    full_name = _proto_service(contract, service)
    declared = contract.declaring(full_name)
    if declared is None:
        files, changes = proto_service(contract, full_name)
        (path,) = files
        proto = ProtoOutline.read(files[path], path)
        found = proto.service(full_name)
        assert found is not None
    else:
        changes = ()
        proto, found = declared
    return _addition(contract, _Place(proto, found, full_name), rpc, changes)


@dataclass(frozen=True, slots=True)
class _Place:
    proto: ProtoOutline
    service: Statement
    full_name: str


def _addition(contract: Contract, place: _Place, rpc: NewRpc, changes: tuple[str, ...]) -> Addition | None:
    proto, service = place.proto, place.service
    same = next((found for found in rpcs(service) if found.name == rpc.name), None)
    if same is not None:
        if _says(same, rpc):
            return None
        raise CannotAdd(f"{proto.at(same)}: there is already an rpc {rpc.name}, with other options")
    _refuse_near(proto, service, rpc)
    for name in (rpc.request, rpc.response):
        _refuse_taken(contract, proto, name)
    made = [name for name in (rpc.request, rpc.response) if proto.named(name) is None]
    what = f"rpc {rpc.name}" + (f" with {' and '.join(made)}" if made else "")
    owner = contract.owner(place.full_name)
    following = (
        "sagagen generate" if owner else f"sagagen add saga NAME --trigger {place.full_name}/{rpc.name}"
    )
    return Addition(
        {proto.path: with_rpc(proto, service, rpc, _fields(rpc))},
        (*changes, f"{proto.path}: {what}"),
        (following,),
    )


def _proto_service(contract: Contract, name: str) -> str:
    """The place of a service of the mesh, or of a proto service named in full, which may be new."""
    implements = contract.services.get(name)
    if implements is None and "." in name:
        return name
    if implements is None:
        raise unknown("service", name, list(contract.services), "`sagagen add service` adds one")
    if len(implements) != 1:
        which = " or ".join(f"{full_name}/..." for full_name in implements)
        raise CannotAdd(f"the service {name} implements {len(implements)} proto services: write {which}")
    if contract.declaring(implements[0]) is None:
        raise unknown("proto service", implements[0], contract.proto_services)
    return implements[0]


def _http(text: str | None, *, is_read: bool) -> Http | None:
    if text is None:
        return None
    verb, _, path = text.strip().partition(" ")
    path = path.strip()
    if verb.lower() not in VERBS or not path:
        hint = did_you_mean(verb.lower(), VERBS)
        raise CannotAdd(f"\"{text}\" is not a route: write it like 'POST /orders'; {hint}")
    if verb.lower() == "get" and not is_read:
        raise CannotAdd("GET is for reads: add --read, or use POST")
    try:
        parse_template(path)
    except TemplateError as problem:
        raise CannotAdd(
            f'"{path}" is not a path template: {problem.message} (at character {problem.offset + 1})'
        ) from None
    return Http(verb.lower(), path)


def _fields(rpc: NewRpc) -> list[str]:
    """The variables of the path that are direct fields of the request."""
    variables = parse_template(rpc.http.path).variables if rpc.http else ()
    return list(dict.fromkeys(name for name in variables if "." not in name))


def _says(found: Statement, rpc: NewRpc) -> bool:
    """Whether an existing rpc has everything that is asked for."""
    texts = {token.text for token in found.tokens}
    has_route = rpc.http is None or {rpc.http.verb, f'"{rpc.http.path}"'} <= texts
    return has_route and ("NO_SIDE_EFFECTS" in texts) == rpc.is_read


def _refuse_near(proto: ProtoOutline, service: Statement, rpc: NewRpc) -> None:
    """Handlers are named in snake case, so names that differ only in case are one method."""
    same = next((found for found in rpcs(service) if found.name.lower() == rpc.name.lower()), None)
    if same is not None:
        raise CannotAdd(f"{proto.at(same)}: there is already an rpc {same.name}: did you mean that?")


def _refuse_taken(contract: Contract, proto: ProtoOutline, name: str) -> None:
    """A message of that name in the same file is reused; anything else is in the way."""
    for other in contract.protos:
        found = other.named(name) if other.package == proto.package else None
        if found is not None and (other.path != proto.path or found.keyword != "message"):
            raise CannotAdd(
                f"{other.at(found)}: there is already a {found.keyword} {name}: choose another name"
            )
