"""Everything that is read: saga.yaml and the protos, the latter through buf. What follows is pure."""

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from sagagen.contract import buf
from sagagen.contract.codes import Code
from sagagen.contract.dependencies import GOOGLE_API, VALIDATE, validate_file
from sagagen.diagnostics import Diagnostic, Report, Severity
from sagagen.source import Span

SAGA_YAML = f"{buf.CONTRACTS}/saga.yaml"
IMPORT = re.compile(r'^\s*import\s+(?:public\s+|weak\s+|option\s+)?"([^"]+)"', re.MULTILINE)
NOT_OURS = ("google/protobuf/", *GOOGLE_API, VALIDATE)
"""Known everywhere, also where a project keeps copies of them in its contracts folder."""


@dataclass(frozen=True, slots=True)
class Sources:
    """A project's contract as read from disk."""

    saga_yaml: str | None
    """None if it could not be read: that was reported."""
    image: bytes
    """Serialized FileDescriptorSet of all protos and their imports, in dependency order, with source info."""
    paths: Mapping[str, str]
    """The contract's own files: name in the image -> path relative to the project root."""
    is_partial: bool
    """Some protos do not compile and are missing here: what cannot be found may be in them."""


def load(root: Path) -> tuple[Sources, tuple[Diagnostic, ...]]:
    """Read the contract of the project at `root`. Raises BufMissing where buf is not installed."""
    found: list[Diagnostic] = []
    text = _read_text(root, SAGA_YAML, found.append)
    image, is_partial = _load_protos(root, found.append)
    return Sources(text, image.SerializeToString(), _own_files(root, image), is_partial), tuple(found)


def _read_text(root: Path, path: str, report: Report) -> str | None:
    try:
        return (root / path).read_text("utf-8-sig")
    except FileNotFoundError:
        message, hint = f"{path} does not exist", "write it, or name the project with --project DIR"
        report(Diagnostic(Span(path), Severity.ERROR, Code.NO_CONTRACT, message, hint))
    except UnicodeDecodeError as error:
        message, hint = f"{path} is not UTF-8: {error.reason} at byte {error.start}", "save it as UTF-8"
        report(Diagnostic(Span(path), Severity.ERROR, Code.NOT_UTF8, message, hint))
    return None


def _load_protos(root: Path, report: Report) -> tuple[FileDescriptorSet, bool]:
    if not any((root / buf.CONTRACTS).rglob("*.proto")):
        message, hint = (
            "the contracts folder holds no .proto files",
            "put the services' protos beside saga.yaml",
        )
        report(Diagnostic(Span(SAGA_YAML), Severity.ERROR, Code.NO_CONTRACT, message, hint))
        return FileDescriptorSet(), True
    with (
        tempfile.TemporaryDirectory(prefix="sagagen-image-") as temporary,
        buf.open_workspace(root) as workspace,
    ):
        image = Path(temporary) / "image.binpb"
        try:
            findings = buf.build_and_lint(workspace, image)
        except buf.BufFailed as error:
            report(_buf_failed(root, str(error)))
            return FileDescriptorSet(), True
        errors = [finding for finding in findings if finding.rule == "COMPILE"]
        if errors:
            broken = _with_importers(root, {error.at.path for error in errors})
            _report_compile_errors(root, errors, report)
            _build_the_rest(workspace, image, broken)
        else:
            _report_lint(findings, report)
        return _read_image(image), bool(errors)


def _buf_failed(root: Path, problem: str) -> Diagnostic:
    path = next(
        (path for path in ("buf.yaml", f"{buf.CONTRACTS}/buf.yaml") if (root / path).exists()), SAGA_YAML
    )
    message = f"buf cannot work with these contracts: {' '.join(problem.removeprefix('Failure: ').split())}"
    return Diagnostic(
        Span(path), Severity.ERROR, Code.BUF_CONFIG, message, f"run buf build {buf.CONTRACTS} to see more"
    )


def _build_the_rest(workspace: buf.Workspace, image: Path, broken: Sequence[str]) -> None:
    try:
        buf.build_without(workspace, image, broken)
    except buf.BufFailed:
        image.unlink(missing_ok=True)  # nothing is left to compile


def _read_image(image: Path) -> FileDescriptorSet:
    files = FileDescriptorSet.FromString(image.read_bytes() if image.exists() else b"")
    for file in files.file:
        if file.name == VALIDATE:
            file.ParseFromString(
                validate_file()
            )  # the printed copy served the compiler; rules need the true one
    return files


def _own_files(root: Path, image: FileDescriptorSet) -> dict[str, str]:
    names = [file.name for file in image.file if not file.name.startswith(NOT_OURS)]
    paths = {name: f"{buf.CONTRACTS}/{name}" for name in names}
    return {name: path for name, path in paths.items() if (root / path).is_file()}


def _report_compile_errors(root: Path, errors: Iterable[buf.Finding], report: Report) -> None:
    """Names that are missing only because an imported file is broken too are left out."""
    all_errors = tuple(errors)
    causes = {error.at.path for error in all_errors if not _is_unknown_name(error)}
    suspects = set(_with_importers(root, causes))
    for error in all_errors:
        if not (_is_unknown_name(error) and error.at.path in suspects):
            message = f"does not compile: {error.message}"
            report(
                Diagnostic(
                    error.at, Severity.ERROR, Code.PROTO_COMPILE, message, _compile_hint(error.message)
                )
            )


def _is_unknown_name(error: buf.Finding) -> bool:
    return error.message.startswith("cannot find ")


def _compile_hint(message: str) -> str:
    if message.startswith("cannot find "):
        return "check the spelling, and that the file which declares it is imported"
    if "imported file does not exist" in message:
        return "write the path from contracts/ on; only google/api, google/protobuf and buf/validate are built in"
    return "mend the proto here"


def _report_lint(findings: Iterable[buf.Finding], report: Report) -> None:
    for finding in findings:
        message = f"{finding.message.rstrip('.')} (buf lint {finding.rule})"
        hint = f'mend it, or put the comment "// buf:lint:ignore {finding.rule}" above it'
        report(Diagnostic(finding.at, Severity.WARNING, Code.PROTO_LINT, message, hint))


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
