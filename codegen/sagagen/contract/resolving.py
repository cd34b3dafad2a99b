"""Sources -> the frozen mesh, or everything that is wrong with them. Pure: no disk, no clock, no environment."""

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from google.protobuf.descriptor import MethodDescriptor

from sagagen import source
from sagagen.contract.body_limits import BodyLimits
from sagagen.contract.broken import Broken
from sagagen.contract.calls import CallResolver
from sagagen.contract.checks import check_saga, check_triggers
from sagagen.contract.codes import Code
from sagagen.contract.document import read_document
from sagagen.contract.event_checks import CANCEL, check_rpcs
from sagagen.contract.findings import warning
from sagagen.contract.kept import resolve_kept
from sagagen.contract.loading import SAGA_YAML, Loading, Sources, loading
from sagagen.contract.located import Key
from sagagen.contract.model import Mesh, Route, Saga
from sagagen.contract.outline import SagaOutline
from sagagen.contract.outlining import outline_saga
from sagagen.contract.policies import resolve_limits, resolve_policies
from sagagen.contract.protos import Protos, link
from sagagen.contract.reading import Reading, read_shapes
from sagagen.contract.required import RequiredFields
from sagagen.contract.routes import Answerers, Binding, check_bindings, check_unanswered, read_bindings
from sagagen.contract.sagas import compile_saga
from sagagen.contract.security import (
    Rules,
    Schemes,
    is_unsaid,
    resolve_rules,
    resolve_schemes,
    section_of,
)
from sagagen.contract.security_checks import check_callers, check_unused
from sagagen.contract.services import Services, resolve_services
from sagagen.contract.shape import SagaShape
from sagagen.contract.time_checks import check_memory
from sagagen.contract.waivers import resolve_waivers
from sagagen.diagnostics import Diagnostic, Report, has_errors, in_order
from sagagen.expression import TypeIndex
from sagagen.python_naming import assign_names

_SAGAS = "sagas"
"""Their key in saga.yaml."""
ADD_ROUTE = "add option (google.api.http) to the rpc"


def read_contract(root: Path) -> tuple[Mesh | None, tuple[Diagnostic, ...]]:
    """Load and resolve the contract of the project at `root`; all findings, sorted by place.

    The mesh is None if there are errors; warnings alone leave it usable. Raises BufMissing where buf is not installed.
    """
    with loading(root) as started:
        return read_loaded(started)


def read_loaded(started: Loading) -> tuple[Mesh | None, tuple[Diagnostic, ...]]:
    """Like `read_contract`, for a contract that is already being loaded."""
    text, _ = started.saga_yaml
    found_resolving: list[Diagnostic] = []
    document = _document(text, found_resolving.append)  # while buf is at work
    sources, found_loading = started.result()
    mesh = _resolve(sources, document, found_resolving)
    remarks = started.remarks()
    found = in_order([*found_loading, *found_resolving, *remarks])
    return (None if has_errors(found) else mesh), found


def resolve(sources: Sources, tolerated: Container[str] = ()) -> tuple[Mesh | None, tuple[Diagnostic, ...]]:
    """Bind every name, check every rule, compile every expression.

    None if there are errors other than those with a code in `tolerated`, which must be among UNSOUND.
    """
    found: list[Diagnostic] = []
    mesh = _resolve(sources, _document(sources.saga_yaml, found.append), found)
    diagnostics = in_order(found)
    is_wrong = has_errors(each for each in diagnostics if each.code not in tolerated)
    return (None if is_wrong else mesh), diagnostics


def _document(text: str | None, report: Report) -> source.Mapping | None:
    return None if text is None else read_document(SAGA_YAML, text, report)


def _resolve(sources: Sources, document: source.Mapping | None, found: list[Diagnostic]) -> Mesh | None:
    report = found.append
    protos = link(sources, report)
    names = assign_names(protos.files, report, protos.span)
    if document is None:
        return None
    reading = read_shapes(document, report)
    services = resolve_services(reading, protos, names, report, sources.on_postgres)
    schemes = resolve_schemes(reading, report)
    outlines = _outline(reading, protos, services, report)
    required = RequiredFields()
    sagas = _compile(outlines, protos, schemes, required, report)
    kept, kept_outlines = _kept(sources, reading, protos, services, schemes, sagas, required, report)
    for problem in check_rpcs((*outlines, *kept_outlines)):
        report(problem)
    answerers = _answerers(services, outlines, kept_outlines)
    bindings = _read_bindings(protos, answerers, report)
    section = section_of(reading)
    limits = section.limits if section else None
    body_limits = BodyLimits.of(reading.file.limits, limits.body if limits else None)
    rules = resolve_rules(reading, schemes, protos, bindings, answerers, report)
    routed = [binding.method for binding in bindings]
    for problem in check_callers(services.by_name.values(), (*sagas.values(), *kept), routed):
        report(problem)
    if not protos.is_partial:
        body_limits.check(bindings, answerers.triggers | answerers.events, report)
    if not (has_errors(found) or protos.is_partial):
        unused = check_unused(rules.security, rules.by_rpc.values()) if rules.security else ()
        loose_ends = (*check_unanswered(protos, answerers), *unused)
        _report_loose_ends(bindings, outlines, loose_ends, report)
    return Mesh(
        project=reading.file.project.value,
        sources=(*sorted(sources.paths.values()), *sources.kept, SAGA_YAML),
        descriptors=protos.descriptors,
        files=protos.files,
        digests={**protos.digests, **_digests_of_kept(sources), SAGA_YAML: _digest_beside_sagas(document)},
        saga_digests=_digests_of_sagas(document),
        docs=protos.docs,
        names=names,
        services=tuple(services.by_name.values()),
        sagas=tuple(sagas.values()),
        kept=kept,
        routes=tuple(_routes(bindings, services, (*sagas.values(), *kept), body_limits, rules)),
        limits=resolve_limits(reading.file.limits, limits.connections if limits else None),
        waivers=tuple(resolve_waivers(reading.file.waivers, report)),
        span=protos.span,
        security=rules.security,
        is_security_unsaid=is_unsaid(reading),
    )


def _digests_of_kept(sources: Sources) -> dict[str, str]:
    return {path: hashlib.sha256(text.encode()).hexdigest() for path, text in sources.kept.items()}


def _digest_beside_sagas(document: source.Mapping) -> str:
    """A digest of everything that may concern any saga, and of which sagas there are."""
    others = tuple(entry for entry in document if entry.key.text != _SAGAS)
    names = tuple(entry.key for entry in _saga_entries(document))
    return source.digest(
        source.Sequence(
            document.span, (source.Mapping(document.span, others), source.Sequence(document.span, names))
        )
    )


def _digests_of_sagas(document: source.Mapping) -> dict[str, str]:
    return {entry.key.text: source.digest(entry.value) for entry in _saga_entries(document)}


def _saga_entries(document: source.Mapping) -> tuple[source.Entry, ...]:
    sagas = document.get(_SAGAS)
    return sagas.entries if isinstance(sagas, source.Mapping) else ()


def _answerers(services: Services, outlines: Iterable[SagaOutline], kept: Iterable[SagaOutline]) -> Answerers:
    """Older versions still take their events, but no new instances."""
    events = (rpc for outline in (*outlines, *kept) for rpc in outline.rpcs)
    return Answerers(services, frozenset(outline.trigger for outline in outlines), frozenset(events))


def _read_bindings(protos: Protos, answerers: Answerers, report: Report) -> tuple[Binding, ...]:
    bindings, problems = read_bindings(protos, answerers)
    for problem in (*problems, *check_bindings(bindings, protos, answerers)):
        report(problem)
    return bindings


def _outline(reading: Reading, protos: Protos, services: Services, report: Report) -> tuple[SagaOutline, ...]:
    policies = resolve_policies(reading.file.defaults, report)
    calls = CallResolver(protos, services, report)
    outlines = tuple(
        outline_saga(name, shape, reading.broken.get(name, Broken()), policies, calls)
        for name, shape in reading.file.sagas.items()
    )
    checks = [
        check_triggers(outlines),
        check_memory(outlines),
        *(check_saga(outline, services) for outline in outlines),
    ]
    for problem in (problem for problems in checks for problem in problems):
        report(problem)
    return outlines


def _compile(
    outlines: Iterable[SagaOutline],
    protos: Protos,
    schemes: Schemes,
    required: RequiredFields,
    report: Report,
) -> dict[str, Saga]:
    types = TypeIndex(protos.files)
    compiled = {outline.name: compile_saga(outline, types, schemes, required, report) for outline in outlines}
    return {name: saga for name, saga in compiled.items() if saga is not None}


def _kept(
    sources: Sources,
    reading: Reading,
    protos: Protos,
    services: Services,
    schemes: Schemes,
    current: Mapping[str, Saga],
    required: RequiredFields,
    report: Report,
) -> tuple[tuple[Saga, ...], list[SagaOutline]]:
    types = TypeIndex(protos.files)
    outlines: list[SagaOutline] = []
    # Mistakes in the defaults were reported with the sagas of saga.yaml.
    policies = resolve_policies(reading.file.defaults, lambda _: None)
    calls = CallResolver(protos, services, report)

    def compile_one(name: Key, shape: SagaShape) -> Saga | None:
        outline = outline_saga(name, shape, Broken(), policies, calls)
        outlines.append(outline)
        problems = [*check_saga(outline, services), *check_memory([outline])]
        for problem in problems:
            report(problem)
        return compile_saga(outline, types, schemes, required, report)

    return tuple(resolve_kept(sources.kept, current, compile_one, report)), outlines


def _routes(
    bindings: Iterable[Binding],
    services: Services,
    sagas: Sequence[Saga],
    body_limits: BodyLimits,
    rules: Rules,
) -> Iterator[Route]:
    by_rpc = _by_rpc(sagas)
    for binding in bindings:
        saga, event = by_rpc.get(binding.method, (None, ""))
        target = saga or services.owner(binding.method)
        if target is not None:
            yield Route(
                verb=binding.verb,
                template=binding.template,
                body=binding.body,
                response_body=binding.response_body,
                method=binding.method,
                target=target,
                max_body_bytes=body_limits.of_binding(binding),
                place=lambda binding=binding: binding.span,
                event=event,
                access=rules.by_rpc.get(binding.method),
            )


def _by_rpc(sagas: Sequence[Saga]) -> Mapping[MethodDescriptor, tuple[Saga, str]]:
    """The saga that answers an rpc, and the event that it brings.

    Newest versions come first. If two sagas have the same trigger, which is an error, the first is as good as any.
    """
    found: dict[MethodDescriptor, tuple[Saga, str]] = {}
    for saga in sagas:
        found.setdefault(saga.trigger, (saga, ""))
        for event in saga.events:
            found.setdefault(event.rpc, (saga, event.name))
        if saga.cancel is not None:
            found.setdefault(saga.cancel.rpc, (saga, CANCEL))
    return found


def _report_loose_ends(
    bindings: Sequence[Binding],
    outlines: Iterable[SagaOutline],
    others: Iterable[Diagnostic],
    report: Report,
) -> None:
    """What is legal but has no effect. Reported only if there are no errors, which might be the cause."""
    for finding in others:
        report(finding)
    routed = {binding.method for binding in bindings}
    for outline in outlines:
        if outline.trigger not in routed:
            message = f'nothing can start the saga "{outline.name}": its trigger has no HTTP route'
            report(warning(outline.trigger_span, Code.TRIGGER_UNROUTED, message, ADD_ROUTE))
        for event in outline.events:
            if event.rpc not in routed:
                message = f'nothing can send the event "{event.name}": its rpc has no HTTP route'
                report(warning(event.rpc_span, Code.TRIGGER_UNROUTED, message, ADD_ROUTE))
        if outline.cancel is not None and outline.cancel.rpc not in routed:
            message = f'nothing can cancel the saga "{outline.name}": its rpc has no HTTP route'
            report(warning(outline.cancel.rpc_span, Code.TRIGGER_UNROUTED, message, ADD_ROUTE))
