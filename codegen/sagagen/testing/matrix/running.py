"""Runs the matrix of a project: finds samples, plays every row, compares with what was approved."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice

from sagagen.runtime.model.definition import Element, Mesh, Parallel, Saga, Step, leaves
from sagagen.runtime.process.gateway import composed
from sagagen.runtime.process.project import Project
from sagagen.testing.declared import reasons_of
from sagagen.testing.invariants import project_invariants
from sagagen.testing.matrix import snapshots
from sagagen.testing.matrix.checking import ending, problems
from sagagen.testing.matrix.oracle import expected
from sagagen.testing.matrix.pace import slower
from sagagen.testing.matrix.playbook import Script, script
from sagagen.testing.matrix.playing import OnRow, Played, Setting
from sagagen.testing.matrix.references import References, Stage
from sagagen.testing.matrix.rows import Row, Way, rows
from sagagen.testing.matrix.snapshots import Ending, Snapshot
from sagagen.testing.matrix.verdicts import SagaVerdicts, Verdict
from sagagen.testing.samples import Sample, SampleError, check_names, others_like, reaching, samples_of

_TRIED = 40
"""So many requests that differ from the contract's examples are tried where these do not complete."""


class MatrixError(Exception):
    """The matrix can't be played; the message says why, and what to do."""


OnVerdict = Callable[[Verdict], None]


@dataclass(frozen=True, slots=True)
class Options:
    only: tuple[str, ...] = ()
    """Patterns of row names: with a shell's wildcards, a whole name, or a part of one. Empty: all rows."""
    seed: int = 0
    approve: bool = False
    """Keep what is found."""

    def wanted_sagas(self, names: Iterable[str]) -> set[str]:
        """Those that may have a wanted row. Others are left alone: their samples need not complete."""
        known, firsts = {*names}, {pattern.partition("/")[0] for pattern in self.only}
        return firsts if firsts and firsts <= known else known

    def wanted(self, names: Iterable[str]) -> set[str]:
        """Those of the names that are to be played."""
        known = list(names)
        found: set[str] = set()
        for pattern in self.only:
            # A whole name means that row alone, though it may be the beginning of another one's.
            found |= {pattern} & {*known} or {name for name in known if _fits(name, pattern)}
        return found if self.only else {*known}


ALL_ROWS = Options()


def _fits(name: str, pattern: str) -> bool:
    has_wildcard = any(each in pattern for each in "*?")
    # An item's key stands in brackets, which are no set of characters here.
    return fnmatchcase(name, pattern.replace("[", "[[]")) if has_wildcard else pattern in name


def matrices(
    project: Project, options: Options = ALL_ROWS, *, handlers: Mapping[str, object] | None = None
) -> list["Matrix"]:
    """The matrix of each saga that may have a wanted row, the newest version of each.

    `handlers` stand for the project's own, by service.

    Raises SampleError, InvariantsError and ProjectError, each with a message for people.
    """
    check_names(project.root, project.mesh.sagas)
    mesh = slower(project.mesh)
    given = handlers or {}
    used = {each.name: given.get(each.name) or project.handlers(each) for each in mesh.services}
    setting = Setting(mesh, composed(project), used, options.seed)
    stage = Stage(project.root, setting, project_invariants(project.root))
    sagas = newest(mesh)
    wanted = options.wanted_sagas(saga.name for saga in sagas)
    return [Matrix(stage, saga) for saga in sagas if saga.name in wanted]


def wanted_rows(found: Sequence["Matrix"], options: Options) -> set[str]:
    """Names of the rows that are to be played. Raises MatrixError where none is."""
    wanted = options.wanted(row.name for matrix in found for row in matrix.rows)
    if not wanted:
        fits = f"no row fits {' or '.join(options.only)}" if options.only else "the contract has no saga"
        raise MatrixError(f"{fits}; `sagagen test --matrix --list` names all rows")
    return wanted


def newest(mesh: Mesh) -> Sequence[Saga]:
    """The version of each saga that takes new ones."""
    found: dict[str, Saga] = {}
    for saga in mesh.sagas:
        if saga.name not in found or saga.version > found[saga.name].version:
            found[saga.name] = saga
    return tuple(found.values())


def run(
    found: Sequence["Matrix"],
    options: Options,
    on_verdict: OnVerdict = lambda _: None,
    on_row: OnRow | None = None,
) -> list[SagaVerdicts]:
    """Play all rows that are wanted. `on_row` is called when a row's own saga begins, and when it is over.

    Raises MatrixError where no row is wanted, SnapshotError, and SampleError where an event can't be made up.
    """
    wanted = wanted_rows(found, options)
    return [matrix.run(wanted, options, on_verdict, on_row) for matrix in found]


class Matrix:
    """All rows of one saga."""

    def __init__(self, stage: Stage, saga: Saga) -> None:
        """Plays the saga where nothing fails, with each sample. Raises SampleError unless it completes."""
        self._stage = stage
        self.saga = saga
        self._references: dict[str, References] = {}
        """By the sample's name."""
        self.rows: list[Row] = []
        self._seen: set[Ending] = set()
        """What rows have left so far."""
        for sample in samples_of(stage.root, stage.setting.gateway.schema, saga):
            self._add(self._completing(sample))
        for element in _conditional(saga.steps):
            self._reach(element)

    def _completing(self, sample: Sample) -> References:
        """With the sample, or where it does not complete with one that differs a little and does.

        Raises SampleError where none was found.
        """
        try:
            return References(self._stage, self.saga, sample)
        except SampleError:
            schema = self._stage.setting.gateway.schema
            for other in islice(others_like(schema, sample, self.saga), _TRIED):
                with suppress(SampleError):
                    return References(self._stage, self.saga, other)
            raise

    def _reach(self, element: Element) -> None:
        """What the samples skip is reached by one that is made up, if one can be and it completes."""
        first = next(iter(self._references.values()))
        if {leaf.name for leaf in leaves([element])} <= {*self._covered}:
            return
        sample = reaching(self._stage.setting.gateway.schema, first.sample, self.saga, element)
        if sample is None:
            return
        try:
            self._add(References(self._stage, self.saga, sample))
        except SampleError:
            return  # a person has to say what such a request is like; the report names what is not reached

    def _add(self, references: References) -> None:
        """All rows of the first sample; of another one those of elements that no sample before has reached."""
        covered, sample = self._covered, references.sample.name
        self._references[sample] = references
        for row in rows(self.saga, references.reached, self._reasons, sample):
            if not sample or row.way is Way.STRAIGHT or (row.element and row.element not in covered):
                self.rows.append(row)

    @property
    def _covered(self) -> frozenset[str]:
        """Elements that a sample reaches."""
        return frozenset(name for each in self._references.values() for name in each.reached)

    def _reasons(self, step: Step) -> Sequence[str]:
        handlers = self._stage.setting.handlers[step.action.service]
        return reasons_of(handlers, step.action.method.handler)

    def run(
        self,
        wanted: set[str],
        options: Options,
        on_verdict: OnVerdict,
        on_row: OnRow | None,
    ) -> SagaVerdicts:
        """Play those of its rows that are wanted. Raises SnapshotError, and SampleError as `run` says."""
        approved = snapshots.read(self._stage.root, self.saga.name)
        found: list[Verdict] = []
        for row in self.rows:
            if row.name in wanted:
                verdict = self._verdict(row, approved, options, on_row)
                on_verdict(verdict)
                found.append(verdict)
        if options.approve:
            self._approve(approved, found, is_whole=not options.only)
        names = {row.within_saga for row in self.rows}
        return SagaVerdicts(
            self.saga.name,
            next(iter(self._references.values())).sample.source,
            tuple(found),
            tuple(leaf.name for leaf in leaves(self.saga.steps) if leaf.name not in self._covered),
            tuple(each for each in approved.endings if each not in names) if approved else (),
        )

    def _verdict(
        self, row: Row, approved: Snapshot | None, options: Options, on_row: OnRow | None
    ) -> Verdict:
        began = time.perf_counter()
        references = self._references[row.sample]
        if approved and not options.approve:
            references.is_volatile(approved.volatile)
        wanted = expected(self.saga, row, references.reached)
        happens = script(self.saga, row, references.reached)
        played = references.play(happens, on_row=on_row)
        wrong = [
            *problems(self.saga, row, happens, wanted, played),
            *references.of_others(played),
        ]
        if not wrong:  # else it is clear why it leaves something else
            wrong += references.unlike(row, wanted.is_like_straight, played)
        known = approved.endings.get(row.within_saga) if approved else None
        found = self._ending(references, row, happens, played, known)
        unlike = snapshots.unlike(known, found) if known and not options.approve else []
        return Verdict(
            row,
            found,
            tuple(wrong),
            tuple(_with_writers(unlike, references)),
            is_approved=known is not None or options.approve,
            story=played.story,
            seconds=time.perf_counter() - began,
        )

    def _ending(
        self, references: References, row: Row, happens: Script, played: Played, known: Ending | None
    ) -> Ending:
        """What is left. Where that is nothing that was approved or left before, another run tells what differs."""
        notes = references.notes(row)
        found = ending(played, references.volatile, notes)
        if found != known and found not in self._seen:
            references.differs_in_each_run(happens, played)
            found = ending(played, references.volatile, notes)
        self._seen.add(found)
        return found

    def _approve(self, approved: Snapshot | None, found: Sequence[Verdict], *, is_whole: bool) -> None:
        kept = Snapshot() if is_whole or approved is None else approved
        endings = dict(kept.endings)
        endings |= {verdict.row.within_saga: verdict.ending for verdict in found}
        volatile = kept.volatile.union(*(each.volatile for each in self._references.values()))
        in_order = [row.within_saga for row in self.rows if row.within_saga in endings]
        now = Snapshot({name: endings[name] for name in in_order}, volatile)
        if in_order and now != approved:
            snapshots.write(self._stage.root, self.saga.name, now)


def _conditional(elements: Iterable[Element]) -> Iterator[Element]:
    """Elements with a `when`."""
    for element in elements:
        if element.when:
            yield element
        if isinstance(element, Parallel):
            for branch in element.branches:
                yield from _conditional(branch.steps)


def _with_writers(lines: Sequence[str], references: References) -> Iterator[str]:
    for line in lines:
        place = line.split(" ")[2] if line[2:].startswith("left ") and line.count(" ") > 2 else ""
        service, _, table = place.partition(".")
        yield f"{line}{references.writers.of_table(service, table)}"
