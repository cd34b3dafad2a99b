"""The image of a project's protos, which buf compiles and lints. buf's findings become ours."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from sagagen.contract import buf
from sagagen.contract.built import Built, Digests
from sagagen.contract.codes import Code
from sagagen.contract.dependencies import IMPORT, VALIDATE, imports, is_built_in, neighbours, validate_file
from sagagen.contract.findings import error, warning
from sagagen.contract.proto_files import proto_files
from sagagen.contract.rebuilding import judged_again, merged, reached
from sagagen.diagnostics import Diagnostic, Report, did_you_mean, has_errors, in_order
from sagagen.source import Span

SAGA_YAML = f"{buf.CONTRACTS}/saga.yaml"
BROKEN_RULE = re.compile(r"fails to compile|but has \(buf\.validate\.field\)\.\w+ rules")
MISSING = "imported file does not exist"
BUILT_IN = (
    "what googleapis-common-protos has (google/api, google/type, google/rpc, google/longrunning), google/protobuf "
    "and buf/validate are built in"
)
DECLARED_TWICE = "declared multiple times"
JSON_TWICE = "have the same JSON name"


class ProtoLoading(Protocol):
    """The protos of a project, on which buf may still be at work in processes of its own."""

    def image(self, report: Report) -> tuple[FileDescriptorSet, bool]:
        """The image, and whether something is missing from it, which is then reported. Waits for buf's compiler."""
        ...

    def remarks(self) -> tuple[Diagnostic, ...]:
        """The linter's findings; none if something is missing from the image. Waits for the linter."""
        ...

    def built(self, now: Digests) -> Built | None:
        """What buf made of the protos; None if something is missing, or nothing is new. Call it last."""
        ...


class NoProtos:
    def image(self, report: Report) -> tuple[FileDescriptorSet, bool]:
        message = "there are no .proto files in the contracts folder"
        report(error(Span(SAGA_YAML), Code.NO_CONTRACT, message, "put the services' protos beside saga.yaml"))
        return FileDescriptorSet(), True

    def remarks(self) -> tuple[Diagnostic, ...]:
        return ()

    def built(self, now: Digests) -> Built | None:
        return None


@dataclass(frozen=True, slots=True)
class Known:
    """Protos that have not changed."""

    before: Built

    def image(self, report: Report) -> tuple[FileDescriptorSet, bool]:
        return FileDescriptorSet.FromString(self.before.image), False

    def remarks(self) -> tuple[Diagnostic, ...]:
        return self.before.remarks

    def built(self, now: Digests) -> Built | None:
        return None


@dataclass(frozen=True, slots=True)
class Rest:
    """The part of an earlier image that is still valid after some protos have changed."""

    image: FileDescriptorSet
    remarks: tuple[Diagnostic, ...]
    """The linter's findings in it."""
    names: frozenset[str]
    """Of all protos that exist now."""
    changed: frozenset[str]
    """The names of protos that were changed, are new, or are gone, and of those that import them."""

    @classmethod
    def of(cls, before: Built, now: Digests) -> "Rest | None":
        """None if so much has changed that compiling everything is quicker."""
        image = FileDescriptorSet.FromString(before.image)
        stale = reached(image, map(_import_name, before.changed(now)))
        rest = cls(image, before.remarks, frozenset(map(_import_name, now)), stale)
        return rest if 0 < 2 * len(rest.compiled) <= len(now) else None

    @property
    def compiled(self) -> list[str]:
        """The paths of those that must be compiled again."""
        return _paths(self.changed & self.names)

    def judged(self, whole: FileDescriptorSet) -> list[str]:
        """The paths of those that must be linted again. `whole`: the complete new image."""
        return _paths(judged_again((self.image, whole), self.names, self.changed))


def _paths(names: Iterable[str]) -> list[str]:
    return [f"{buf.CONTRACTS}/{name}" for name in sorted(names)]


def _import_name(path: str) -> str:
    return path.removeprefix(f"{buf.CONTRACTS}/")


class Compiling:
    """Protos that buf compiles and lints, at the same time."""

    def __init__(self, root: Path, workspace: buf.Workspace, image: Path, rest: Rest | None) -> None:
        self._root = root
        self._workspace = workspace
        self._image = image
        self._rest = rest
        self._build = buf.start_build(workspace, image, rest.compiled if rest else ())
        self._lint = None if rest else buf.start_lint(workspace)
        """Started after compilation if only some protos are compiled: what to lint is known only then."""
        self._kept_remarks: list[Diagnostic] = []
        """The findings of an earlier run in protos that are not linted again."""
        self._whole: FileDescriptorSet | None = None
        """The new image, if nothing is missing from it."""
        self._remarks: tuple[Diagnostic, ...] = ()

    def stop(self) -> None:
        self._build.stop()
        if self._lint is not None:
            self._lint.stop()

    def image(self, report: Report) -> tuple[FileDescriptorSet, bool]:
        if self._rest and (whole := self._with_the_rest(self._rest)) is not None:
            self._lint_again(self._rest, whole)
            self._whole = whole
            return whole, False
        try:
            errors = self._build.findings()
        except buf.BufFailed as failure:
            report(_buf_failed(self._root, str(failure)))
            return FileDescriptorSet(), True
        if not errors:
            self._whole = _read_image(self._image)
            return self._whole, False
        _report_compile_errors(self._root, errors, report)
        broken = _with_importers(self._root, {finding.at.path for finding in errors})
        _build_the_rest(self._workspace, self._image, broken)
        return _read_image(self._image), True

    def _with_the_rest(self, rest: Rest) -> FileDescriptorSet | None:
        """None if that fails: then everything is compiled, so that findings are the same as ever."""
        try:
            is_compiled = not self._build.findings()
        except buf.BufFailed:
            is_compiled = False
        image = merged(rest.image, _read_image(self._image), rest.names) if is_compiled else None
        if image is None:
            self._build = buf.start_build(self._workspace, self._image)
            self._lint = buf.start_lint(self._workspace)
        return image

    def _lint_again(self, rest: Rest, whole: FileDescriptorSet) -> None:
        again = rest.judged(whole)
        self._lint = buf.start_lint(self._workspace, again)
        self._kept_remarks = [
            remark
            for remark in rest.remarks
            if _import_name(remark.at.path) in rest.names and remark.at.path not in again
        ]

    def remarks(self) -> tuple[Diagnostic, ...]:
        if self._whole is not None:
            found = list(self._kept_remarks)
            self._report_findings(found.append)
            self._remarks = in_order(found)
        return self._remarks

    def _report_findings(self, report: Report) -> None:
        assert self._lint is not None  # it starts with the compiler, or once the compiler is done
        try:
            findings = self._lint.findings()
        except buf.BufFailed as failure:
            report(_buf_failed(self._root, str(failure)))
            return
        if any(finding.rule == buf.COMPILE for finding in findings):
            _report_compile_errors(self._root, findings, report)
        else:
            _report_lint(findings, report)

    def built(self, now: Digests) -> Built | None:
        if self._whole is None or has_errors(self._remarks):
            return None
        return Built(dict(now), self._whole.SerializeToString(), self._remarks)


def _buf_failed(root: Path, problem: str) -> Diagnostic:
    configs = ("buf.yaml", f"{buf.CONTRACTS}/buf.yaml")
    path = next((path for path in configs if (root / path).exists()), SAGA_YAML)
    message = f"buf cannot work with these contracts: {' '.join(problem.removeprefix('Failure: ').split())}"
    return error(Span(path), Code.BUF_CONFIG, message, f"run `buf build {buf.CONTRACTS}` to see more")


def _build_the_rest(workspace: buf.Workspace, image: Path, broken: Sequence[str]) -> None:
    try:
        buf.start_build(workspace, image, without=broken).findings()
    except buf.BufFailed:
        image.unlink(missing_ok=True)  # nothing is left to compile


def _read_image(image: Path) -> FileDescriptorSet:
    files = FileDescriptorSet.FromString(image.read_bytes() if image.exists() else b"")
    for file in files.file:
        if file.name == VALIDATE:
            # The printed copy is enough for the compiler; the rules need the real one.
            file.ParseFromString(validate_file())
    return files


def _report_compile_errors(root: Path, findings: Sequence[buf.Finding], report: Report) -> None:
    """Leaves out names that are missing only because an imported file is broken too."""
    causes = {finding.at.path for finding in findings if not _is_unknown_name(finding)}
    suspects = set(_with_importers(root, causes))
    missing = [finding for finding in findings if finding.message == MISSING]
    _report_missing_imports(root, missing, report)
    for finding in _without_twins(findings):
        if finding not in missing and not (_is_unknown_name(finding) and finding.at.path in suspects):
            message = f"does not compile: {finding.message}"
            report(error(finding.at, Code.PROTO_COMPILE, message, _compile_hint(finding.message)))


def _report_missing_imports(root: Path, findings: Sequence[buf.Finding], report: Report) -> None:
    """One for each missing file: many may import it."""
    importing: dict[str, list[Span]] = {}
    for finding in findings:
        importing.setdefault(_imported_at(root, finding.at), []).append(finding.at)
    for name, places in importing.items():
        others = f"; {len(places) - 1} more of the contract's files import it" if len(places) > 1 else ""
        message = f'imports "{name}", which is nowhere{others}'
        report(error(min(places), Code.PROTO_COMPILE, message, _missing_hint(root, name)))


def _imported_at(root: Path, at: Span) -> str:
    lines = (root / at.path).read_text("utf-8-sig", errors="replace").splitlines()
    # An import may go on in the next line.
    found = IMPORT.search("\n".join(lines[at.line - 1 :])[at.column - 1 :])
    return found[1] if found else lines[at.line - 1].strip()


def _missing_hint(root: Path, name: str) -> str:
    known = [path.removeprefix(f"{buf.CONTRACTS}/") for path in proto_files(root, buf.CONTRACTS)]
    alike = [path for path in known if path.endswith(name.rpartition("/")[2])]
    close = did_you_mean(name, [*alike, *neighbours(name)])
    if close.startswith("did you mean"):
        return close
    return f"put it there: {buf.CONTRACTS}/{name}; {BUILT_IN}"


def _without_twins(findings: Sequence[buf.Finding]) -> Iterator[buf.Finding]:
    """A field that is declared twice also has its JSON name twice, which need not be reported."""
    twice = {finding.at.path for finding in findings if finding.message.endswith(DECLARED_TWICE)}
    return (
        found for found in findings if not (found.message.endswith(JSON_TWICE) and found.at.path in twice)
    )


def _is_unknown_name(finding: buf.Finding) -> bool:
    return finding.message.startswith("cannot find ")


def _compile_hint(message: str) -> str:
    if message.startswith("cannot find "):
        return "check the spelling, and import the file that declares it"
    return "fix the proto here"


def _report_lint(findings: Iterable[buf.Finding], report: Report) -> None:
    for finding in findings:
        if is_built_in(_import_name(finding.at.path)):
            continue  # a copy of somebody else's
        if _breaks_validation(finding):
            message = f"no request with this message could be validated: {finding.message.rstrip('.')}"
            report(error(finding.at, Code.BROKEN_RULE, message, "fix the rule of buf.validate, or remove it"))
            continue
        message = f"{finding.message.rstrip('.')} (buf lint {finding.rule})"
        hint = f'fix it, or put the comment "// buf:lint:ignore {finding.rule}" above it'
        report(warning(finding.at, Code.PROTO_LINT, message, hint))


def _breaks_validation(finding: buf.Finding) -> bool:
    """Whether the finding is about a rule that can't be compiled; the linter also reports rules that only seem odd."""
    return finding.rule == buf.VALIDATION and BROKEN_RULE.search(finding.message) is not None


def _with_importers(root: Path, broken: Iterable[str]) -> list[str]:
    """The broken files and those that import them, directly or indirectly. Paths are relative to the root."""
    importing = {
        path: {
            f"{buf.CONTRACTS}/{name}" for name in imports((root / path).read_text("utf-8", errors="replace"))
        }
        for path in proto_files(root, buf.CONTRACTS)
    }
    reached = set(broken)
    while grown := {path for path, names in importing.items() if names & reached} - reached:
        reached |= grown
    return sorted(reached)
