"""What an addition would change, tried out before it is written: it must not break the contract."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sagagen.contract import read_contract, resolve
from sagagen.contract.buf import CONTRACTS
from sagagen.contract.codes import Code
from sagagen.contract.loading import HANDLERS, POSTGRES_SQL, SAGA_YAML
from sagagen.diagnostics import Diagnostic, Severity
from sagagen.editing.contract import Contract
from sagagen.editing.text import CannotAdd
from sagagen.workspace.source_text import SourceText
from sagagen.workspace.writing import replace_file

LEFT_TO_FILL_IN = frozenset(
    {Code.NO_STEPS, Code.REQUIRED_FIELD_LEFT_OUT, Code.EMPTY_BLOCK, Code.EVENT_NOT_AWAITED}
)
"""Errors that an addition may leave: the user's next step fixes them."""


@dataclass(frozen=True, slots=True)
class Addition:
    """Files with something added to them, by path relative to the project root."""

    files: Mapping[str, SourceText]
    changes: tuple[str, ...]
    """One line about each file."""
    next: tuple[str, ...]
    """Commands to run next."""


@dataclass(frozen=True, slots=True)
class Added:
    changes: tuple[str, ...]
    """Empty if what was to be added is there already."""
    next: tuple[str, ...]
    findings: tuple[Diagnostic, ...]
    """Findings of `sagagen check` that were not there before."""


def carry_out(contract: Contract, addition: Addition) -> Added:
    """Write it, unless that would break the contract. Raises CannotAdd, BufMissing, OSError."""
    findings = _try_out(contract, addition.files)
    if findings:
        findings = _new(findings, resolve(contract.sources)[1])
    _refuse_errors(findings)
    _write(contract.root, addition.files)
    return Added(addition.changes, addition.next, findings)


def _try_out(contract: Contract, files: Mapping[str, SourceText]) -> tuple[Diagnostic, ...]:
    """What `sagagen check` would find. buf needs the protos on disk; saga.yaml alone needs no disk."""
    if all(path == SAGA_YAML for path in files):
        return resolve(replace(contract.sources, saga_yaml=files[SAGA_YAML].text))[1]
    with tempfile.TemporaryDirectory(prefix="sagagen-add-") as folder:
        trial = Path(folder)
        _copy_contract(contract.root, trial)
        _write(trial, files)
        return read_contract(trial)[1]


def _copy_contract(root: Path, trial: Path) -> None:
    shutil.copytree(root / CONTRACTS, trial / CONTRACTS)
    (trial / HANDLERS).mkdir()
    for sql in (root / HANDLERS).glob(f"*{POSTGRES_SQL}"):
        shutil.copy(sql, trial / HANDLERS / sql.name)
    for name in ("buf.yaml", "buf.work.yaml", "buf.lock"):
        if (root / name).is_file():
            shutil.copy(root / name, trial / name)


def _write(root: Path, files: Mapping[str, SourceText]) -> None:
    for path, source in files.items():
        replace_file((root / path).resolve(), source.write())


def _new(now: Sequence[Diagnostic], before: Sequence[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Findings that were not there before; places are not compared, since additions move them."""
    known = Counter((found.code, found.message) for found in before)
    fresh: list[Diagnostic] = []
    for found in now:
        what = (found.code, found.message)
        if known[what]:
            known[what] -= 1
        else:
            fresh.append(found)
    return tuple(fresh)


def _refuse_errors(findings: Sequence[Diagnostic]) -> None:
    errors = [
        found for found in findings if found.severity is Severity.ERROR and found.code not in LEFT_TO_FILL_IN
    ]
    if errors:
        said = "; ".join(f"{found.message} ({found.code}: {found.hint})" for found in errors)
        raise CannotAdd(f"nothing was added, since the contract would have errors: {said}")
