"""Everything that is read: saga.yaml and the protos, the latter through buf. What follows is pure."""

import re
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from sagagen.contract import buf
from sagagen.contract.codes import Code
from sagagen.contract.dependencies import GOOGLE_API, VALIDATE, validate_file
from sagagen.contract.findings import error, warning
from sagagen.diagnostics import Diagnostic, Report
from sagagen.source import Span

SAGA_YAML = f"{buf.CONTRACTS}/saga.yaml"
KEPT = f"{buf.CONTRACTS}/sagas"
"""Where older versions of sagas are, while some of their instances are not over."""
IMPORT = re.compile(r'^\s*import\s+(?:public\s+|weak\s+|option\s+)?"([^"]+)"', re.MULTILINE)
BROKEN_RULE = re.compile(r"fails to compile|but has \(buf\.validate\.field\)\.\w+ rules")
DECLARED_TWICE = "declared multiple times"
JSON_TWICE = "have the same JSON name"
NOT_OURS = ("google/protobuf/", *GOOGLE_API, VALIDATE)
"""Known everywhere, also where a project keeps copies of them in its contracts folder."""


@dataclass(frozen=True, slots=True)
class Sources:
    """A project's contract as read from disk."""

    saga_yaml: str | None
    """None if it could not be read: that was reported."""
    kept: Mapping[str, str]
    """Older versions of sagas: path relative to the project root -> text."""
    image: bytes
    """Serialized FileDescriptorSet of all protos and their imports, in dependency order, with source info."""
    paths: Mapping[str, str]
    """The contract's own files: name in the image -> path relative to the project root."""
    is_partial: bool
    """Some protos do not compile and are missing here: what cannot be found may be in them."""


def load(root: Path) -> tuple[Sources, tuple[Diagnostic, ...]]:
    """Read the contract of the project at `root`. Raises BufMissing where buf is not installed."""
    with loading(root) as started:
        return started.result()


@dataclass(frozen=True, slots=True)
class Loading:
    """A contract that is being read: buf is at work on its protos, in processes of its own."""

    root: Path
    protos: "_Protos | None"
    """None where there are none."""

    def result(self) -> tuple[Sources, tuple[Diagnostic, ...]]:
        """What was read, and what is wrong with it. Waits for buf."""
        found: list[Diagnostic] = []
        text = _read_text(self.root, SAGA_YAML, found.append)
        image, is_partial = self.protos.result(found.append) if self.protos else self._no_protos(found.append)
        kept = _read_kept(self.root, found.append)
        own = _own_files(self.root, image)
        return Sources(text, kept, image.SerializeToString(), own, is_partial), tuple(found)

    def _no_protos(self, report: Report) -> tuple[FileDescriptorSet, bool]:
        message = "the contracts folder holds no .proto files"
        report(error(Span(SAGA_YAML), Code.NO_CONTRACT, message, "put the services' protos beside saga.yaml"))
        return FileDescriptorSet(), True


@dataclass(frozen=True, slots=True)
class _Protos:
    root: Path
    workspace: buf.Workspace
    image: Path
    work: buf.BuildAndLint

    def result(self, report: Report) -> tuple[FileDescriptorSet, bool]:
        """The image, and whether something is missing from it."""
        try:
            findings = self.work.findings()
        except buf.BufFailed as failure:
            report(_buf_failed(self.root, str(failure)))
            return FileDescriptorSet(), True
        is_partial = any(finding.rule == buf.COMPILE for finding in findings)
        if is_partial:
            _report_compile_errors(self.root, findings, report)
            broken = _with_importers(self.root, {finding.at.path for finding in findings})
            _build_the_rest(self.workspace, self.image, broken)
        else:
            _report_lint(findings, report)
        return _read_image(self.image), is_partial


@contextmanager
def loading(root: Path) -> Generator[Loading]:
    """Begin to read the contract of the project at `root`. Raises BufMissing where buf is not installed."""
    if not any((root / buf.CONTRACTS).rglob("*.proto")):
        yield Loading(root, None)
        return
    with (
        tempfile.TemporaryDirectory(prefix="sagagen-image-") as folder,
        buf.open_workspace(root) as workspace,
    ):
        image = Path(folder) / "image.binpb"
        work = buf.start_build_and_lint(workspace, image)
        try:
            yield Loading(root, _Protos(root, workspace, image, work))
        finally:
            work.stop()


def _read_kept(root: Path, report: Report) -> dict[str, str]:
    folder = root / KEPT
    paths = sorted(f"{KEPT}/{path.name}" for path in folder.glob("*.y*ml")) if folder.is_dir() else []
    texts = {path: _read_text(root, path, report) for path in paths}
    return {path: text for path, text in texts.items() if text is not None}


def _read_text(root: Path, path: str, report: Report) -> str | None:
    try:
        return (root / path).read_text("utf-8-sig")
    except FileNotFoundError:
        hint = "write it, or name the project with --project DIR"
        report(error(Span(path), Code.NO_CONTRACT, f"{path} does not exist", hint))
    except UnicodeDecodeError as problem:
        before = bytes(problem.object[: problem.start]).decode("utf-8-sig")
        at = Span(path, before.count("\n") + 1, len(before) - before.rfind("\n"))
        report(error(at, Code.NOT_UTF8, f"the file is not UTF-8: {problem.reason}", "save it as UTF-8"))
    return None


def _buf_failed(root: Path, problem: str) -> Diagnostic:
    configs = ("buf.yaml", f"{buf.CONTRACTS}/buf.yaml")
    path = next((path for path in configs if (root / path).exists()), SAGA_YAML)
    message = f"buf cannot work with these contracts: {' '.join(problem.removeprefix('Failure: ').split())}"
    return error(Span(path), Code.BUF_CONFIG, message, f"run buf build {buf.CONTRACTS} to see more")


def _build_the_rest(workspace: buf.Workspace, image: Path, broken: Sequence[str]) -> None:
    try:
        buf.build_without(workspace, image, broken)
    except buf.BufFailed:
        image.unlink(missing_ok=True)  # nothing is left to compile


def _read_image(image: Path) -> FileDescriptorSet:
    files = FileDescriptorSet.FromString(image.read_bytes() if image.exists() else b"")
    for file in files.file:
        if file.name == VALIDATE:
            # The printed copy served the compiler; the rules need the true one.
            file.ParseFromString(validate_file())
    return files


def _own_files(root: Path, image: FileDescriptorSet) -> dict[str, str]:
    names = [file.name for file in image.file if not file.name.startswith(NOT_OURS)]
    paths = {name: f"{buf.CONTRACTS}/{name}" for name in names}
    return {name: path for name, path in paths.items() if (root / path).is_file()}


def _report_compile_errors(root: Path, findings: Sequence[buf.Finding], report: Report) -> None:
    """Names that are missing only because an imported file is broken too are left out."""
    causes = {finding.at.path for finding in findings if not _is_unknown_name(finding)}
    suspects = set(_with_importers(root, causes))
    for finding in _without_twins(findings):
        if not (_is_unknown_name(finding) and finding.at.path in suspects):
            message = f"does not compile: {finding.message}"
            report(error(finding.at, Code.PROTO_COMPILE, message, _compile_hint(finding.message)))


def _without_twins(findings: Sequence[buf.Finding]) -> Iterator[buf.Finding]:
    """A field that is declared twice has one JSON name twice as well; that goes without saying."""
    twice = {finding.at.path for finding in findings if finding.message.endswith(DECLARED_TWICE)}
    return (
        found for found in findings if not (found.message.endswith(JSON_TWICE) and found.at.path in twice)
    )


def _is_unknown_name(finding: buf.Finding) -> bool:
    return finding.message.startswith("cannot find ")


def _compile_hint(message: str) -> str:
    if message.startswith("cannot find "):
        return "check the spelling, and that the file which declares it is imported"
    if "imported file does not exist" in message:
        return "write the path from contracts/ on; only google/api, google/protobuf and buf/validate are built in"
    return "mend the proto here"


def _report_lint(findings: Iterable[buf.Finding], report: Report) -> None:
    for finding in findings:
        if _breaks_validation(finding):
            message = f"no request with this message could be validated: {finding.message.rstrip('.')}"
            report(
                error(finding.at, Code.BROKEN_RULE, message, "mend the rule of buf.validate, or remove it")
            )
            continue
        message = f"{finding.message.rstrip('.')} (buf lint {finding.rule})"
        hint = f'mend it, or put the comment "// buf:lint:ignore {finding.rule}" above it'
        report(warning(finding.at, Code.PROTO_LINT, message, hint))


def _breaks_validation(finding: buf.Finding) -> bool:
    """The linter's words for rules that can't be compiled, among others that only seem odd."""
    return finding.rule == buf.VALIDATION and BROKEN_RULE.search(finding.message) is not None


def _with_importers(root: Path, broken: Iterable[str]) -> list[str]:
    """The broken files and whoever imports them, directly or through others. Paths relative to the root."""
    folder = root / buf.CONTRACTS
    imports = {
        path.relative_to(root).as_posix(): {
            f"{buf.CONTRACTS}/{name}" for name in IMPORT.findall(path.read_text("utf-8", errors="replace"))
        }
        for path in folder.rglob("*.proto")
    }
    reached = set(broken)
    while grown := {path for path, names in imports.items() if names & reached} - reached:
        reached |= grown
    return sorted(reached)
