"""Compiles the expressions of one saga, each with what it may read at its place."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from google.protobuf.descriptor import Descriptor, MethodDescriptor

from sagagen.contract.located import Located
from sagagen.contract.outline import SagaOutline
from sagagen.contract.readability import BROKEN, Readable, Structure
from sagagen.contract.security import Schemes
from sagagen.diagnostics import Diagnostic, Report
from sagagen.expression import (
    Environment,
    MessageExpr,
    TypeIndex,
    ValueExpr,
    compile_duration,
    compile_message,
    compile_time,
)
from sagagen.expression.codes import Code as ExpressionCode
from sagagen.source import Node

Compile = Callable[[Node, Environment, Report], ValueExpr | None]
NOT_FOUND_YET = "the saga is found by this expression"
ONLY_INPUT = "when a saga starts is known from its input alone"
NOT_STARTED = "the saga has not started"
EVENT_COMES = "an event may come before it is done"
"""Why places outside of the list of steps can't read them."""


@dataclass
class Expressions:
    saga: SagaOutline
    trigger: MethodDescriptor
    types: TypeIndex
    structure: Structure
    schemes: Schemes
    report: Report
    failures: int = field(default=0, init=False)
    """Expressions that could not be compiled, whether or not that was reported here."""

    def fail(self) -> None:
        self.failures += 1

    def value(self, node: Node, compile_it: Compile, environment: Environment) -> ValueExpr | None:
        compiled = compile_it(node, environment, self._without_follow_ups)
        self.failures += compiled is None
        return compiled

    def optional(self, node: Node | None, compile_it: Compile, environment: Environment) -> ValueExpr | None:
        return None if node is None else self.value(node, compile_it, environment)

    def message(self, node: Node | None, target: Descriptor, environment: Environment) -> MessageExpr | None:
        compiled = compile_message(node, target, environment, self._without_follow_ups)
        self.failures += compiled is None
        return compiled

    def time(
        self, after: Located[float] | Node | None, at: Node | None, environment: Environment
    ) -> tuple[float | None, ValueExpr | None, ValueExpr | None]:
        """A fixed duration, one that is computed, or a time; only one of them is not None."""
        is_fixed = isinstance(after, Located)
        computed = None if is_fixed else self.optional(after, compile_duration, environment)
        return after.value if is_fixed else None, computed, self.optional(at, compile_time, environment)

    def _without_follow_ups(self, finding: Diagnostic) -> None:
        is_unknown_step = finding.code == ExpressionCode.UNKNOWN_STEP and "" in self.saga.broken.steps
        if BROKEN not in finding.message and not is_unknown_step and not self.schemes.is_follow_up(finding):
            self.report(finding)

    # What may be read where

    def of_step(
        self, package: str, readable: Readable, sure: frozenset[str], *, failure: bool = False
    ) -> Environment:
        """`sure`: steps that are there, since what reads them is skipped otherwise; `failure`: in a compensation."""
        return Environment(
            types=self.types,
            package=package,
            input=self.trigger.input_type,
            steps=readable.steps,
            unreadable=readable.unreadable,
            failure=failure,
            total=failure,
            loops=readable.loops,
            claims=self.schemes.claims,
            guarded=readable.guarded,
            guaranteed=sure,
        )

    def of_answer(self, after: str | None) -> Environment:
        """`after`: the element behind which the answer leaves; None: all of them."""
        path = None if after is None else self.structure.path(after)
        readable = self.structure.all() if path is None else self.structure.settled(path)
        environment = self.of_step(self.trigger.output_type.file.package, readable, frozenset())
        return replace(environment, total=True)

    def of_address(self, rpc: MethodDescriptor) -> Environment:
        """Which saga an event is for."""
        hidden = dict.fromkeys(("input", "saga.id", "saga.started_at"), NOT_FOUND_YET)
        return replace(self.of_event(rpc), input=None, saga_id=False, started_at=False, hidden=hidden)

    def of_event(self, rpc: MethodDescriptor) -> Environment:
        package = rpc.containing_service.file.package
        environment = self.of_step(package, self.structure.none(EVENT_COMES), frozenset())
        return replace(environment, event=rpc.input_type, total=True)

    def of_start(self) -> Environment:
        known = replace(self._of_acceptance(), caller=False, claims={}, saga_id=False, started_at=False)
        hidden = dict.fromkeys(("caller", "claims", "saga.id", "saga.started_at"), ONLY_INPUT)
        return replace(known, hidden=hidden, total=False)

    def of_index(self) -> Environment:
        return self._of_acceptance()

    def _of_acceptance(self) -> Environment:
        package = self.trigger.containing_service.file.package
        environment = self.of_step(package, self.structure.none(NOT_STARTED), frozenset())
        return replace(environment, total=True)
