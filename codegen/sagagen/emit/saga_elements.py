"""The elements of a saga as the Python that makes them."""

from collections.abc import Iterable, Mapping

from sagagen.contract.model import Branch, Call, Decline, Delay, Element, ForEach, Parallel, Step, Wait
from sagagen.emit.imports import Imports
from sagagen.emit.saga_functions import Functions
from sagagen.emit.saga_sources import listed, made, retry_source, seconds
from sagagen.emit.service_names import ServiceNames
from sagagen.runtime.model.definition import WAIT_TIMED_OUT


class Elements:
    """Writes elements; each function that it needs is rendered on the way."""

    def __init__(self, functions: Functions, services: Mapping[str, ServiceNames], imports: Imports) -> None:
        self._functions = functions
        self._services = services
        self._imports = imports

    def sources(self, elements: Iterable[Element]) -> list[str]:
        return [self._source(element) for element in elements]

    def _source(self, element: Element) -> str:
        match element:
            case Step():
                return self._step(element)
            case Wait():
                return self._wait(element)
            case Delay():
                return self._delay(element)
            case Parallel():
                return self._parallel(element)

    def _step(self, step: Step) -> str:
        when = self._functions.when(step)
        for_each = step.for_each and self._for_each(step.name, step.for_each)
        return made(
            "Step",
            name=repr(step.name),
            kind=_kind(step),
            action=self._call(step.action, self._functions.request(step)),
            compensation=step.compensation
            and self._call(step.compensation, self._functions.compensation(step, step.compensation)),
            when=when,
            for_each=for_each,
            gives_up="True" if step.gives_up else None,
        )

    def _for_each(self, step: str, loop: ForEach) -> str:
        return made(
            "ForEach",
            items=self._functions.items(step, loop),
            key=self._functions.key(step, loop),
            at_once=str(loop.at_once),
            max_items=str(loop.max_items),
        )

    def _call(self, call: Call, request: str) -> str:
        names = self._services[call.service.name]
        constant = names.constant(call.method.descriptor)
        return made(
            "Action",
            service=repr(call.service.name),
            method=self._imports.name(f"generated.services.{names.module}", constant),
            request=request,
            timeout_s=seconds(call.timeout_s),
            retry=retry_source(call.retry),
        )

    def _wait(self, wait: Wait) -> str:
        return made(
            "Wait",
            name=repr(wait.name),
            kind=_kind(wait),
            event=repr(wait.event),
            within_s=seconds(wait.within_s),
            when=self._functions.when(wait),
            decline=wait.decline and self._decline(wait, wait.decline),
            on_timeout=None if wait.on_timeout == WAIT_TIMED_OUT else repr(wait.on_timeout),
        )

    def _decline(self, wait: Wait, decline: Decline) -> str:
        when = self._functions.declined(wait, decline)
        return made("Decline", when=when, reason=repr(decline.reason))

    def _delay(self, delay: Delay) -> str:
        return made(
            "Delay",
            name=repr(delay.name),
            kind=_kind(delay),
            when=self._functions.when(delay),
            after_s=seconds(delay.after_s),
            after=self._functions.after(delay),
            at=self._functions.at(delay),
            at_most_s=seconds(delay.at_most_s),
        )

    def _parallel(self, block: Parallel) -> str:
        when = self._functions.when(block)
        branches = listed([self._branch(branch) for branch in block.branches])
        return made("Parallel", name=repr(block.name), kind=_kind(block), when=when, branches=branches)

    def _branch(self, branch: Branch) -> str:
        return made("Branch", name=repr(branch.name), steps=listed(self.sources(branch.steps)))


def _kind(element: Element) -> str:
    return f"StepKind.{element.kind.name}"
