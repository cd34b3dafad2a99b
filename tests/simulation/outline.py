"""A definition in one line, for whoever reads why a run failed."""

from sagagen.runtime.model.definition import Delay, Element, Parallel, Saga, Step, Wait


def outline(saga: Saga) -> str:
    return f"deadline {saga.deadline_s:g} s: " + " -> ".join(map(_element, saga.steps))


def _element(element: Element) -> str:
    optional = "?" if element.when else ""
    match element:
        case Parallel():
            branches = (" -> ".join(map(_element, branch.steps)) for branch in element.branches)
            return f"{element.name}{optional}[{' | '.join(branches)}]"
        case Wait():
            on_timeout = element.on_timeout or "continue"
            within = f" within {element.within_s:g} s {on_timeout}" if element.within_s else ""
            return f"{element.name}{optional}:{element.kind} waits for {element.event}{within}"
        case Delay():
            return f"{element.name}{optional} delays {element.after_s} s"
        case Step():
            return _step(element, optional)


def _step(step: Step, optional: str) -> str:
    traits = [str(step.kind), step.action.service]
    if step.for_each:
        traits.append(f"loop {step.for_each.at_once} at once")
    if step.action.method.is_read:
        traits.append("read")
    elif step.compensation is None:
        traits.append("not undone")
    if step.gives_up:
        traits.append("gives up")
    if step.action.retry.max_attempts:
        traits.append(f"{step.action.retry.max_attempts} attempts")
    if str(step.action.method.transaction) == "manual":
        traits.append("manual")
    return f"{step.name}{optional}({' '.join(traits)})"
