"""A saga of saga.yaml: first its names are bound (the outline, which is checked), then its expressions compiled."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, MethodDescriptor

from sagagen.contract.calls import CallResolver
from sagagen.contract.checks import ACCEPTANCE, COMPLETION
from sagagen.contract.digest import digest
from sagagen.contract.located import Key
from sagagen.contract.model import Call, Respond, Saga, Step
from sagagen.contract.outline import SagaOutline, StepOutline, Target, Undo
from sagagen.contract.policies import Policies, Policy
from sagagen.contract.required import RequiredFields
from sagagen.contract.shape import CompensateShape, RespondShape, SagaShape, StepShape
from sagagen.diagnostics import Diagnostic, Report
from sagagen.expression import Environment, MessageExpr, TypeIndex, compile_message
from sagagen.expression.codes import Code as ExpressionCode
from sagagen.runtime.model.definition import StepKind
from sagagen.source import Node

DEADLINE_S = 60.0
RETENTION_S = 30 * 86400.0
WAIT_S = 10.0
STATUS = 200

RUNS_LATER = "it runs later"
OWN_REQUEST = "its request comes before its response"
OWN_COMPENSATION = "its response may be unknown"
NOT_DONE = "it may not have run when this compensation is called"
ANSWERED_BEFORE = "it runs after the answer"
BROKEN = "it is broken, which was reported"
"""Findings with this reason only follow from an earlier one, and are dropped."""


def outline_saga(
    name: Key, shape: SagaShape, broken_steps: frozenset[str], policies: Policies, calls: CallResolver
) -> SagaOutline:
    deadline = shape.deadline
    return SagaOutline(
        name=str(name),
        span=name.span,
        trigger=calls.trigger(shape.trigger),
        trigger_span=shape.trigger.span,
        deadline_s=DEADLINE_S if deadline is None else deadline.value,
        deadline_span=name.span if deadline is None else deadline.span,
        steps=tuple(_outline_step(step, policies, calls) for step in shape.steps),
        broken_steps=broken_steps,
        shape=shape,
    )


def _outline_step(shape: StepShape, policies: Policies, calls: CallResolver) -> StepOutline:
    kind = StepKind.COMPENSATABLE if shape.kind is None else StepKind(shape.kind.value)
    undo = shape.compensate
    is_call = isinstance(undo, CompensateShape)
    return StepOutline(
        name=shape.name.value,
        span=shape.name.span,
        kind=kind,
        kind_span=shape.name.span if shape.kind is None else shape.kind.span,
        action=calls.target(shape.call),
        action_policy=policies.of_step(shape, kind),
        undo=Undo.UNSAID if undo is None else Undo.CALL if is_call else Undo.NONE,
        undo_span=shape.name.span if undo is None else undo.call.span if is_call else undo.span,
        compensation=calls.target(undo.call) if is_call else None,
        compensation_policy=policies.of_compensation(undo) if is_call else policies.compensation,
        shape=shape,
    )


def compile_saga(
    saga: SagaOutline, types: TypeIndex, required: RequiredFields, report: Report
) -> Saga | None:
    """Compile all expressions of a saga. Reports what is wrong, and then returns None."""
    if saga.trigger is None or not saga.steps:
        return None
    compiler = _Compiler(saga, saga.trigger, types, required, report)
    steps = [compiler.step(index, step) for index, step in enumerate(saga.steps)]
    respond = compiler.respond()
    whole = [step for step in steps if step is not None]
    if respond is None or len(whole) < len(steps) or saga.broken_steps:
        return None
    return _saga(saga, saga.trigger, respond, tuple(whole))


def _saga(saga: SagaOutline, trigger: MethodDescriptor, respond: Respond, steps: tuple[Step, ...]) -> Saga:
    shape, idempotency = saga.shape, saga.shape.idempotency
    version = 1 if shape.version is None else shape.version.value
    key = idempotency.key if idempotency is not None else None
    on_concurrent = idempotency.on_concurrent if idempotency is not None else None
    retention = idempotency.retention if idempotency is not None else None
    return Saga(
        name=saga.name,
        version=version,
        trigger=trigger,
        key="optional" if key is not None and key.value == "optional" else "required",
        on_concurrent="wait" if on_concurrent is not None and on_concurrent.value == "wait" else "conflict",
        retention_s=RETENTION_S if retention is None else retention.value,
        deadline_s=saga.deadline_s,
        respond=respond,
        steps=steps,
        digest=digest(saga.name, version, trigger, respond, steps),
        span=saga.span,
    )


@dataclass(frozen=True, slots=True)
class _Compiler:
    saga: SagaOutline
    trigger: MethodDescriptor
    types: TypeIndex
    required: RequiredFields
    report: Report

    def step(self, index: int, step: StepOutline) -> Step | None:
        action = self._call(
            f'step "{step.name}"',
            step.action,
            step.shape.request,
            step.action_policy,
            self._for_action(index, step.action),
        )
        compensation = None
        is_undone = step.undo is Undo.CALL and step.kind is StepKind.COMPENSATABLE
        if is_undone and step.compensate is not None:
            environment = self._for_compensation(index, step.compensation)
            compensation = self._call(
                f'the compensation of "{step.name}"',
                step.compensation,
                step.compensate.request,
                step.compensation_policy,
                environment,
            )
        if action is None or (is_undone and compensation is None):
            return None
        return Step(step.name, step.kind, action, compensation, step.span)

    def respond(self) -> Respond | None:
        shape = self.saga.shape.respond or RespondShape()
        after = COMPLETION if shape.after is None else shape.after.value
        body = (
            self._compile(shape.body, self.trigger.output_type, self._for_answer(after))
            if shape.body
            else None
        )
        if shape.body is not None and body is None:
            return None
        status = STATUS if shape.status is None else shape.status.value
        return Respond(after, status, WAIT_S if shape.wait is None else shape.wait.value, body)

    def _call(
        self, what: str, target: Target | None, request: Node | None, policy: Policy, environment: Environment
    ) -> Call | None:
        if target is None:
            return None
        message = target.method.descriptor.input_type
        expression = self._compile(request, message, environment)
        if expression is None:
            return None
        for problem in self.required.check(what, request, expression, target.span):
            self.report(problem)
        return Call(target.service, target.method, expression, policy.timeout_s, policy.retry, target.span)

    def _compile(self, node: Node | None, target: Descriptor, environment: Environment) -> MessageExpr | None:
        return compile_message(node, target, environment, self._without_follow_ups)

    def _without_follow_ups(self, finding: Diagnostic) -> None:
        is_unknown_step = finding.code == ExpressionCode.UNKNOWN_STEP and "" in self.saga.broken_steps
        if BROKEN not in finding.message and not is_unknown_step:
            self.report(finding)

    def _for_action(self, index: int, target: Target | None) -> Environment:
        steps = self.saga.steps
        unreadable = {step.name: RUNS_LATER for step in steps[index + 1 :]} | {steps[index].name: OWN_REQUEST}
        return self._environment(_package(target), steps[:index], unreadable)

    def _for_compensation(self, index: int, target: Target | None) -> Environment:
        steps = self.saga.steps
        unreadable = {step.name: NOT_DONE for step in steps[index + 1 :]} | {
            steps[index].name: OWN_COMPENSATION
        }
        return self._environment(_package(target), steps[:index], unreadable, failure=True, total=True)

    def _for_answer(self, after: str) -> Environment:
        names = [step.name for step in self.saga.steps]
        done = names.index(after) + 1 if after in names else len(names)
        is_known = after in {*names, COMPLETION, ACCEPTANCE}
        later = dict.fromkeys(names[done:], ANSWERED_BEFORE) if is_known else {}
        package = self.trigger.output_type.file.package
        return self._environment(package, self.saga.steps[:done], later, total=True)

    def _environment(
        self,
        package: str,
        done: Sequence[StepOutline],
        unreadable: dict[str, str],
        *,
        failure: bool = False,
        total: bool = False,
    ) -> Environment:
        twice = _twice(self.saga)
        responses = {
            step.name: step.action.method.descriptor.output_type
            for step in done
            if step.action and step.name not in twice
        }
        broken = dict.fromkeys((*_broken(self.saga, done), *twice), BROKEN)
        others = {name: why for name, why in (unreadable | broken).items() if name not in responses}
        return Environment(
            types=self.types,
            package=package,
            input=self.trigger.input_type,
            steps=responses,
            unreadable=others,
            failure=failure,
            total=total,
        )


def _broken(saga: SagaOutline, done: Iterable[StepOutline]) -> Iterator[str]:
    yield from (name for name in saga.broken_steps if name)
    yield from (step.name for step in done if step.action is None)


def _twice(saga: SagaOutline) -> frozenset[str]:
    """Names that several steps have: which of them is meant, nobody knows."""
    names = Counter(step.name for step in saga.steps)
    return frozenset(name for name, count in names.items() if count > 1)


def _package(target: Target | None) -> str:
    return target.method.descriptor.containing_service.file.package if target is not None else ""
