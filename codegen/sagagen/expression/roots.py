"""The start of every selection: `input`, `caller`, `claims.<name>`, `steps.<name>`, `saga.id`, `failure.<field>`, an
enum's name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor

from sagagen.diagnostics import did_you_mean
from sagagen.expression.codes import Code
from sagagen.expression.environment import Environment
from sagagen.expression.macros import RESERVED
from sagagen.expression.names import Path, enum_value, type_named
from sagagen.expression.problem import Problem
from sagagen.expression.syntax import Name, Select, Syntax, spelled
from sagagen.expression.tree import (
    Caller,
    Claim,
    EnumConstant,
    EventMessage,
    Expr,
    FailureField,
    HasResponse,
    Input,
    Item,
    RequestMessage,
    ResponseMessage,
    SagaId,
    StartedAt,
    StepResponse,
    Variable,
)
from sagagen.expression.types import Dynamic, EnumType, ListType, MessageType, message_type

ROOTS = frozenset({"input", "steps", "saga", "failure"})
_FAILURE_FIELDS = ("code", "reason", "message", "step")
_CLAIMS = "claims"
_NAME_CLAIMS = "name them: security: { schemes: { <name>: { claims: { tenant: string } } } }"
Given = Variable | Item | EventMessage | RequestMessage | ResponseMessage
"""What a name can stand for that only some places have."""


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A problem, and the offset of the token that has it."""

    at: int
    problem: Problem


def variable_problem(name: str) -> Problem | None:
    """Why a loop's variable can't have this name."""
    if name in ROOTS or name in ("caller", "event"):
        return Problem(
            Code.BAD_VARIABLE, f'"{name}" means something else in expressions', "choose another name"
        )
    if name in RESERVED or not name.isidentifier() or not name.isascii():
        hint = "use letters, digits and underscores, and no word that CEL reserves"
        return Problem(Code.BAD_VARIABLE, f'"{name}" cannot be the name of a variable', hint)
    return None


def given(environment: Environment) -> Mapping[str, Given]:
    """Names that only some places have, and that hide types and packages there: messages, and the loop's variable."""
    names: dict[str, Given] = {}
    if environment.event is not None:
        names["event"] = EventMessage(_whole_type(environment.event))
    if environment.request is not None:
        names["request"] = RequestMessage(_whole_type(environment.request))
    if environment.response is not None:
        names["response"] = ResponseMessage(_whole_type(environment.response))
    if environment.item is not None:
        name, type_ = environment.item
        names[name] = Item(name, type_)
    return names


def root(node: Name, environment: Environment, variables: Iterable[str]) -> Expr | Misplaced:
    """The value of a name that is not a variable."""
    if not node.is_absolute and node.name in ("input", "caller"):
        return _known(node.name, node.at, environment)
    if node.is_absolute or node.name not in ROOTS:
        return Misplaced(node.at, _unknown((node,), environment, variables))
    example = {"saga": "id", "failure": "reason"}.get(node.name) or next(
        iter((*environment.steps, *environment.loops)), "name"
    )
    problem = Problem(Code.NO_FIELDS, f'"{node.name}" alone is not a value', f"write {node.name}.{example}")
    return Misplaced(node.at, problem)


def _known(name: str, at: int, environment: Environment) -> Expr | Misplaced:
    """What everything may read, except where it is not known yet."""
    value: Expr | None = None
    match name:
        case "input" if environment.input is not None:
            value = Input(_whole_type(environment.input))
        case "caller" if environment.caller:
            value = Caller()
        case "saga.id" if environment.saga_id:
            value = SagaId()
        case "saga.started_at" if environment.started_at:
            value = StartedAt()
        case _:
            pass
    return Misplaced(at, _hidden(name, environment)) if value is None else value


def _hidden(name: str, environment: Environment) -> Problem:
    why = environment.hidden.get(name)
    message = f'"{name}" cannot be read here{": " if why else ""}{why or ""}'
    readable = ", ".join(_readable(environment))
    return Problem(Code.HIDDEN, message, f"readable here: {readable}" if readable else "")


def _readable(environment: Environment) -> list[str]:
    """The names of all values that there are."""
    known = {
        "input": environment.input is not None,
        "caller": environment.caller,
        "saga.id": environment.saga_id,
        "saga.started_at": environment.started_at,
    }
    claims = [f"{_CLAIMS}.{name}" for name in environment.claims]
    steps = [f"steps.{step}" for step in (*environment.steps, *environment.loops)]
    return [*given(environment), *(name for name, is_known in known.items() if is_known), *claims, *steps]


def _whole_type(message: Descriptor) -> MessageType | Dynamic:
    """Of a request or a response: only in a field is a Timestamp a time, and a wrapper its value."""
    type_ = message_type(message)
    return type_ if isinstance(type_, Dynamic) else MessageType(message.full_name, message)


def below_root(node: Select, operand: Name, environment: Environment) -> Expr | Misplaced:
    """`operand.node` where the operand is steps, saga or failure."""
    if operand.name == "steps":
        return _step(node, environment)
    if operand.name == "failure":
        return _failure(node, operand, environment)
    if node.name in ("id", "started_at"):
        return _known(f"saga.{node.name}", operand.at, environment)
    hint = "write saga.id or saga.started_at"
    return Misplaced(node.name_at, Problem(Code.UNKNOWN_FIELD, f'"saga" has no "{node.name}"', hint))


def is_claims(node: Syntax, environment: Environment, variables: Iterable[str]) -> bool:
    """Whether it is the `claims` of the caller: where there are none, the name is free for packages and variables."""
    is_named = isinstance(node, Name) and not node.is_absolute and node.name == _CLAIMS
    return is_named and bool(environment.claims) and _CLAIMS not in variables


def claim(node: Select, environment: Environment) -> Expr | Misplaced:
    """`claims.tenant`"""
    type_ = environment.claims.get(node.name)
    if type_ is not None:
        return Claim(node.name, type_)
    hint = did_you_mean(node.name, environment.claims)
    message = f'no scheme of the contract names a claim "{node.name}"'
    return Misplaced(node.name_at, Problem(Code.UNKNOWN_CLAIM, message, hint))


def has_response(node: Select, environment: Environment) -> Expr | Misplaced:
    """`has(steps.x)`"""
    response = _step(node, environment)
    return response if isinstance(response, Misplaced) else HasResponse(node.name)


def constant(
    node: Select, path: Path, environment: Environment, variables: Iterable[str]
) -> Expr | Misplaced:
    """What a path names that does not start with a variable: a value of an enum."""
    found = enum_value(path, environment)
    if found is None and path[0].name == "caller":
        return Misplaced(path[1].name_at, _no_field_of_caller(path[1].name))
    if found is None and path[0].name == _CLAIMS and path[0].name not in environment.hidden:
        return Misplaced(path[0].name_at, _no_claims(path))
    if found is None:
        return Misplaced(path[0].name_at, _unknown(path, environment, variables))
    if isinstance(found, Problem):
        is_last = found.code is Code.UNKNOWN_ENUM_VALUE
        return Misplaced(node.name_at if is_last else path[0].name_at, found)
    return EnumConstant(found, EnumType(found.type.full_name, found.type))


def _no_claims(path: Path) -> Problem:
    message = f'there is no "{spelled(path)}": the contract names no claims'
    return Problem(Code.UNKNOWN_CLAIM, message, _NAME_CLAIMS)


def _no_field_of_caller(name: str) -> Problem:
    return Problem(Code.NO_FIELDS, f'string has no field "{name}"', f'remove ".{name}"')


def _unknown(path: Path, environment: Environment, variables: Iterable[str]) -> Problem:
    name = path[0].name
    if name in environment.hidden:
        return _hidden(name, environment)
    if name == _CLAIMS and environment.claims:
        example = next(iter(environment.claims))
        return Problem(Code.NO_FIELDS, f'"{name}" alone is not a value', f"write {name}.{example}")
    if type_named(path[:1], environment) is not None:
        return Problem(Code.UNKNOWN_NAME, f'"{name}" is a type, not a value', f"construct one: {name}{{...}}")
    known = [*variables, *dict.fromkeys(name.partition(".")[0] for name in _readable(environment))]
    known += ["steps"] if environment.unreadable else []
    known += ["failure"] if environment.failure else []
    hint = did_you_mean(name, known)
    if not hint.startswith("did"):
        hint += f"""; put quotes around a text: "'{name}'\""""
    return Problem(Code.UNKNOWN_NAME, f'there is no "{name}" here', hint)


def _step(node: Select, environment: Environment) -> StepResponse | Misplaced:
    name = node.name
    is_guarded = name in environment.guarded and name not in environment.guaranteed
    if response := environment.steps.get(name):
        return StepResponse(name, _whole_type(response), is_guarded)
    if response := environment.loops.get(name):
        return StepResponse(name, ListType(_whole_type(response)), is_guarded)
    return Misplaced(node.name_at, _unreadable(name, environment))


def _unreadable(name: str, environment: Environment) -> Problem:
    steps = (*environment.steps, *environment.loops)
    readable = ", ".join(f"steps.{step}" for step in steps)
    known = f"readable here: {readable}" if readable else "no step's response is known here"
    if reason := environment.unreadable.get(name):
        return Problem(Code.UNREADABLE_STEP, f'step "{name}" cannot be read here: {reason}', known)
    hint = did_you_mean(name, steps)
    return Problem(Code.UNKNOWN_STEP, f'there is no step "{name}"', hint if hint.startswith("did") else known)


def _failure(node: Select, operand: Name, environment: Environment) -> Expr | Misplaced:
    if not environment.failure:
        problem = Problem(
            Code.NO_FAILURE_HERE, '"failure" is known only in compensations', "read it in `compensate`"
        )
        return Misplaced(operand.at, problem)
    if node.name in _FAILURE_FIELDS:
        return FailureField(node.name)
    hint = did_you_mean(node.name, _FAILURE_FIELDS)
    return Misplaced(node.name_at, Problem(Code.UNKNOWN_FIELD, f'"failure" has no "{node.name}"', hint))
