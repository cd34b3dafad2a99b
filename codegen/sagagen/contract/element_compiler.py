"""Compiles the expressions of a saga's elements: the tree of outlines becomes the tree of the model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sagagen.contract.codes import Code
from sagagen.contract.element_shape import AT_ONCE, MAX_ITEMS, ForEachShape
from sagagen.contract.expressions import Expressions
from sagagen.contract.findings import error
from sagagen.contract.located import Located
from sagagen.contract.model import Branch, Call, Decline, Delay, Element, ForEach, Parallel, Step, Wait
from sagagen.contract.outline import (
    BranchOutline,
    DelayOutline,
    ElementOutline,
    ParallelOutline,
    SagaOutline,
    StepOutline,
    Target,
    Undo,
    WaitOutline,
)
from sagagen.contract.policies import Policy
from sagagen.contract.readability import (
    NOT_DONE,
    OWN_COMPENSATION,
    OWN_CONDITION,
    OWN_REQUEST,
    RUNS_LATER,
    Path,
    Structure,
)
from sagagen.contract.required import RequiredFields
from sagagen.diagnostics import Report
from sagagen.expression import (
    Environment,
    ListExpr,
    ValueExpr,
    compile_condition,
    compile_key,
    compile_list,
    guards,
)
from sagagen.expression.tree import Item, walk
from sagagen.expression.types import Type
from sagagen.runtime.model.definition import WAIT_TIMED_OUT, StepKind
from sagagen.source import Node, Scalar

Sure = frozenset[str]
"""Steps whose responses are there, since a condition around what reads them says so."""
Loop = tuple[str, Type]
"""Name and type of a loop's variable."""


@dataclass(frozen=True, slots=True)
class ElementCompiler:
    """An element that can't be built is left out; `Expressions.failures` then says that the saga is not whole."""

    saga: SagaOutline
    structure: Structure
    expressions: Expressions
    required: RequiredFields
    report: Report

    def all(self) -> tuple[Element, ...]:
        return self._elements(self.saga.steps, (), frozenset())

    def _elements(self, outlines: Sequence[ElementOutline], above: Path, sure: Sure) -> tuple[Element, ...]:
        compiled = [self._element(each, (*above, index), sure) for index, each in enumerate(outlines)]
        return tuple(element for element in compiled if element is not None)

    def _element(self, element: ElementOutline, path: Path, sure: Sure) -> Element | None:
        match element:
            case StepOutline():
                return self._step(element, path, sure)
            case WaitOutline():
                return self._wait(element, path, sure)
            case DelayOutline():
                return self._delay(element, path, sure)
            case ParallelOutline():
                return self._parallel(element, path, sure)

    def _environment(self, path: Path, sure: Sure, package: str, *, own: str = OWN_CONDITION) -> Environment:
        readable = self.structure.before(path, own=own, later=RUNS_LATER)
        return self.expressions.of_step(package, readable, sure)

    def _condition(
        self, node: Node | None, environment: Environment, sure: Sure
    ) -> tuple[ValueExpr | None, Sure]:
        """`when`, and what is sure where it holds."""
        when = self.expressions.optional(node, compile_condition, environment)
        return when, sure if when is None else sure | guards(when.root)

    # Calls

    def _step(self, step: StepOutline, path: Path, sure: Sure) -> Step | None:
        environment = self._environment(path, sure, _package(step.action))
        loop, for_each = None, None
        if step.shape.for_each is not None:
            for_each = self._for_each(step.shape.for_each, environment)
            if for_each is None:
                return None
            loop = for_each.variable, for_each.items.element
        when, sure = self._condition(step.shape.when, replace(environment, item=loop), sure)
        action = self._action(step, path, sure, loop)
        is_undone = step.undo is Undo.CALL and step.kind is StepKind.COMPENSATABLE
        compensation = self._compensation(step, path, sure, loop) if is_undone else None
        if action is None:
            return None
        gives_up = step.shape.on_give_up is not None
        return Step(step.name, step.kind, action, compensation, step.span, when, for_each, gives_up)

    def _action(self, step: StepOutline, path: Path, sure: Sure, loop: Loop | None) -> Call | None:
        environment = self._environment(path, sure, _package(step.action), own=OWN_REQUEST)
        environment = replace(environment, item=loop)
        what = f'step "{step.name}"'
        return self._call(what, step.action, step.shape.request, step.action_policy, environment)

    def _compensation(self, step: StepOutline, path: Path, sure: Sure, loop: Loop | None) -> Call | None:
        if step.compensate is None:
            return None
        readable = self.structure.before(path, own=OWN_COMPENSATION, later=NOT_DONE)
        package = _package(step.compensation)
        environment = self.expressions.of_step(package, readable, sure, failure=True)
        return self._call(
            f'the compensation of "{step.name}"',
            step.compensation,
            step.compensate.request,
            step.compensation_policy,
            replace(environment, item=loop),
        )

    def _call(
        self, what: str, target: Target | None, request: Node | None, policy: Policy, environment: Environment
    ) -> Call | None:
        if target is None:
            self.expressions.fail()
            return None
        message = target.method.descriptor.input_type
        expression = self.expressions.message(request, message, environment)
        if expression is None:
            return None
        for problem in self.required.check(what, request, expression, target.span):
            self.report(problem)
        return Call(target.service, target.method, expression, policy.timeout_s, policy.retry, target.span)

    def _for_each(self, shape: ForEachShape, environment: Environment) -> ForEach | None:
        items = self.expressions.value(shape.items, compile_list, environment)
        if not isinstance(items, ListExpr):
            return None
        variable = shape.item.value
        inner = replace(environment, item=(variable, items.element))
        key = self.expressions.optional(shape.key, compile_key, inner)
        if key is not None:
            self._check_key(shape, key)
        at_once = AT_ONCE if shape.at_once is None else shape.at_once.value
        max_items = MAX_ITEMS if shape.max_items is None else shape.max_items.value
        return ForEach(variable, items, key, at_once, max_items)

    def _check_key(self, shape: ForEachShape, key: ValueExpr) -> None:
        """Two items with one key can't be told apart: then the loop can't be built."""
        if any(isinstance(node, Item) for node in walk(key.root)) or not isinstance(shape.key, Scalar):
            return
        variable = shape.item.value
        message = f'the key is the same for each item: it does not read "{variable}"'
        hint = (
            f"write what tells the items apart, for example {variable}.id; or remove key: items are numbered"
        )
        self.report(error(shape.key.span, Code.KEYS_REPEAT, message, hint))

    # Waits, delays, blocks

    def _wait(self, wait: WaitOutline, path: Path, sure: Sure) -> Wait | None:
        environment = self._environment(path, sure, self._own_package)
        when, _ = self._condition(wait.shape.when, environment, sure)
        decline = self._decline(wait) if wait.shape.decline is not None else None
        on_timeout = wait.shape.on_timeout
        reason = WAIT_TIMED_OUT
        if on_timeout is not None and not isinstance(on_timeout, Located):
            reason = on_timeout.decline.value
        return Wait(
            wait.name,
            wait.kind,
            wait.event,
            wait.within_s,
            wait.span,
            decline,
            None if wait.goes_on else reason,
            when,
        )

    def _decline(self, wait: WaitOutline) -> Decline | None:
        shape = wait.shape.decline
        event = next((each for each in self.saga.events if each.name == wait.event), None)
        if shape is None or event is None or event.rpc is None:
            self.expressions.fail()
            return None
        environment = self.expressions.of_event(event.rpc)
        when = self.expressions.value(shape.when, compile_condition, environment)
        return None if when is None else Decline(when, shape.reason.value)

    def _delay(self, delay: DelayOutline, path: Path, sure: Sure) -> Delay:
        environment = self._environment(path, sure, self._own_package)
        when, sure = self._condition(delay.shape.when, environment, sure)
        time = delay.shape.delay
        inner = replace(environment, guaranteed=sure)
        after_s, after, at = self.expressions.time(time.after, time.at, inner)
        at_most_s = None if time.at_most is None else time.at_most.value
        return Delay(delay.name, delay.kind, delay.span, after_s, after, at, at_most_s, when)

    def _parallel(self, block: ParallelOutline, path: Path, sure: Sure) -> Parallel:
        environment = self._environment(path, sure, self._own_package)
        when, sure = self._condition(block.shape.when, environment, sure)
        branches = tuple(
            self._branch(branch, (*path, number), sure) for number, branch in enumerate(block.branches)
        )
        return Parallel(block.name, block.kind, branches, block.span, when)

    def _branch(self, branch: BranchOutline, path: Path, sure: Sure) -> Branch:
        return Branch(branch.name, self._elements(branch.steps, path, sure), branch.span)

    @property
    def _own_package(self) -> str:
        """In which conditions of elements that call nothing find their types."""
        return self.expressions.trigger.containing_service.file.package


def _package(target: Target | None) -> str:
    return target.method.descriptor.containing_service.file.package if target is not None else ""
