"""The start of every selection: `input`, `steps.<name>`, `saga.id`, `failure.<field>`, an enum's name."""

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor

from sagagen.diagnostics import did_you_mean
from sagagen.expression.codes import Code
from sagagen.expression.environment import Environment
from sagagen.expression.names import Path, enum_value, type_named
from sagagen.expression.problem import Problem
from sagagen.expression.syntax import Name, Select
from sagagen.expression.tree import EnumConstant, Expr, FailureField, Input, SagaId, StepResponse
from sagagen.expression.types import Dynamic, EnumType, MessageType, message_type

ROOTS = frozenset({"input", "steps", "saga", "failure"})
_FAILURE_FIELDS = ("code", "reason", "message", "step")


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A problem, and the offset of the token that has it."""

    at: int
    problem: Problem


def root(node: Name, environment: Environment, variables: Iterable[str]) -> Expr | Misplaced:
    """The value of a name that is not a macro's variable."""
    if node.is_absolute or node.name not in ROOTS:
        return Misplaced(node.at, _unknown((node,), environment, variables))
    if node.name == "input":
        return Input(_whole_type(environment.input))
    example = {"saga": "id", "failure": "reason"}.get(node.name) or next(iter(environment.steps), "name")
    problem = Problem(Code.NO_FIELDS, f'"{node.name}" alone is not a value', f"write {node.name}.{example}")
    return Misplaced(node.at, problem)


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
    if node.name == "id":
        return SagaId()
    return Misplaced(
        node.name_at, Problem(Code.UNKNOWN_FIELD, f'"saga" has no "{node.name}"', "write saga.id")
    )


def constant(
    node: Select, path: Path, environment: Environment, variables: Iterable[str]
) -> Expr | Misplaced:
    """What a path names that does not start with a variable: a value of an enum."""
    found = enum_value(path, environment)
    if found is None:
        return Misplaced(path[0].name_at, _unknown(path, environment, variables))
    if isinstance(found, Problem):
        is_last = found.code is Code.UNKNOWN_ENUM_VALUE
        return Misplaced(node.name_at if is_last else path[0].name_at, found)
    return EnumConstant(found, EnumType(found.type.full_name, found.type))


def _unknown(path: Path, environment: Environment, variables: Iterable[str]) -> Problem:
    name = path[0].name
    if type_named(path[:1], environment) is not None:
        return Problem(Code.UNKNOWN_NAME, f'"{name}" is a type, not a value', f"construct one: {name}{{...}}")
    known = ["input", "saga", *variables]
    known += ["steps"] if environment.steps or environment.unreadable else []
    known += ["failure"] if environment.failure else []
    hint = did_you_mean(name, known)
    if not hint.startswith("did"):
        hint += f"""; put quotes around a text: "'{name}'\""""
    return Problem(Code.UNKNOWN_NAME, f'there is no "{name}" here', hint)


def _step(node: Select, environment: Environment) -> Expr | Misplaced:
    if response := environment.steps.get(node.name):
        return StepResponse(node.name, _whole_type(response))
    return Misplaced(node.name_at, _unreadable(node.name, environment))


def _unreadable(name: str, environment: Environment) -> Problem:
    readable = ", ".join(f"steps.{step}" for step in environment.steps)
    known = f"readable here: {readable}" if readable else "no step's response is known here"
    if reason := environment.unreadable.get(name):
        return Problem(Code.UNREADABLE_STEP, f'step "{name}" cannot be read here: {reason}', known)
    hint = did_you_mean(name, environment.steps)
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
