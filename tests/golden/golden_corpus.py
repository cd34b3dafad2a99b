"""The golden corpus: contracts, and what they become. Adding a case needs no Python: see CONTRIBUTING.md.

A case is a folder beside this file with a contract, perhaps with handlers and a buf.yaml (else it has ours), and

    expected/    what check and generate print, the kept part of what is emitted, and the answers to `requests`
    keep         which emitted paths stand in expected/, one pattern a line, by default the sagas. `*` matches `/` too,
                 `!PATTERN` takes out again, `PATH#/key/*/key` keeps of a JSON file only what these keys lead to
    requests     HTTP requests that its mesh answers, in one process; expected/answers.txt has the answers
    before/      an earlier contract: generated first, and what `diff` compares with
    known-fault  what is wrong with the case today; then nothing of it is expected, but that it is still wrong
"""

import contextlib
import json
import re
import shutil
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from fnmatch import fnmatchcase
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

import click
import yaml
from click.testing import CliRunner
from openapi_spec_validator import OpenAPIV31SpecValidator

from sagagen.cli.check import check
from sagagen.cli.diff import diff
from sagagen.cli.generate import generate

CORPUS = Path(__file__).parent
EXPECTED = "expected"
BEFORE = "before"
PROJECT = "<project>"
"""Stands for the folder of a run, which is another one each time."""
STDOUT, STDERR = "stdout.txt", "stderr.txt"
CRASH, INVALID, TYPES, IMPORTS = "crash.txt", "invalid.txt", "types.txt", "imports.txt"
"""What no case may have. It is never expected; a known fault may name it."""
ANSWERS = "answers.txt"
EMITTED = ("generated", "handlers", "gateway")
ABOUT_THE_CASE = frozenset({EXPECTED, BEFORE, "keep", "known-fault", "requests"})
"""What lies in a case's folder and is not part of its project."""
SAGAS_ONLY = ("generated/sagas/*_v*.py",)

Texts = Mapping[str, str]
"""Path -> text: of what a case came to, or of what is expected of it."""


@dataclass(frozen=True)
class Symptom:
    """How a fault shows."""

    where: str
    """A path among the case's outcome."""
    pattern: re.Pattern[str]

    @classmethod
    def parse(cls, line: str) -> "Symptom":
        where, _, pattern = line.partition(": ")
        return cls(where, re.compile(pattern, re.DOTALL | re.MULTILINE))

    def shows_in(self, outcome: Texts) -> bool:
        return self.pattern.search(outcome.get(self.where, "")) is not None


@dataclass(frozen=True)
class KnownFault:
    """First line: which fault, and what is wrong. Each other line: `PATH: REGEX`, what the outcome has there today."""

    what: str
    symptoms: tuple[Symptom, ...]

    @classmethod
    def read(cls, text: str) -> "KnownFault":
        what, *symptoms = text.splitlines()
        assert re.match(r"A\d+: .", what), "the first line is `A1: what is wrong`"
        assert symptoms, "no line says how the fault shows"
        return cls(what, tuple(Symptom.parse(line) for line in symptoms))

    def mended(self, outcome: Texts) -> list[str]:
        """The symptoms that do not show any more."""
        return [f"{one.where}: {one.pattern.pattern}" for one in self.symptoms if not one.shows_in(outcome)]


@dataclass(frozen=True)
class Case:
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def known_fault(self) -> KnownFault | None:
        text = self._text("known-fault")
        return None if text is None else KnownFault.read(text)

    @cached_property
    def requests(self) -> str:
        return self._text("requests") or ""

    @cached_property
    def patterns(self) -> tuple[str, ...]:
        text = self._text("keep")
        return SAGAS_ONLY if text is None else tuple(text.split())

    def _text(self, name: str) -> str | None:
        path = self.folder / name
        return path.read_text("utf-8") if path.is_file() else None

    def keeps(self, path: str) -> bool:
        """The whole of it, or parts."""
        is_kept = False
        for pattern in self.patterns:
            if fnmatchcase(path, pattern.removeprefix("!").partition("#")[0]):
                is_kept = not pattern.startswith("!")
        return is_kept

    def parts(self, path: str) -> list[list[str]]:
        """The keys that lead to what is kept of a JSON file; empty if that is the whole."""
        found = [pattern.partition("#/") for pattern in self.patterns]
        return [keys.split("/") for pattern, _, keys in found if keys and fnmatchcase(path, pattern)]

    @property
    def expected(self) -> Texts:
        return read_tree(self.folder / EXPECTED)

    def set_up(self, root: Path) -> None:
        """Its project, as a user has it before anything is generated."""
        shutil.copytree(self.folder, root, ignore=self._ignored)
        # Where buf has settings, nothing of an earlier run is used again: so a case with one has the usual ones.
        has_own = any((self.folder / path).exists() for path in (BEFORE, "buf.yaml", "contracts/buf.yaml"))
        if not has_own:
            shutil.copy(CORPUS / "buf.yaml", root)

    def _ignored(self, folder: str, names: list[str]) -> Collection[str]:
        return ABOUT_THE_CASE.intersection(names) if Path(folder) == self.folder else ()


def cases() -> tuple[Case, ...]:
    return tuple(Case(path.parent) for path in sorted(CORPUS.glob("*/contracts")))


def read_tree(folder: Path) -> Texts:
    """All that is text below a folder, by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    texts = {path: path.read_bytes().decode() for path in paths if path.suffix != ".binpb"}
    return {path.relative_to(folder).as_posix(): text for path, text in texts.items()}


@dataclass(frozen=True)
class Run:
    """A command, as a user runs it in the project's folder."""

    command: str
    exit_code: int
    stdout: str
    stderr: str
    crash: str

    @classmethod
    def of(cls, command: click.Command, root: Path, *options: str) -> "Run":
        with contextlib.chdir(root):
            result = CliRunner().invoke(command, options, prog_name=f"sagagen {command.name}")
        is_crash = result.exception is not None and not isinstance(result.exception, SystemExit)
        crash = "".join(traceback.format_exception(result.exception)) if is_crash else ""
        name = " ".join(["sagagen", str(command.name), *options])
        return cls(name, result.exit_code, result.stdout, result.stderr, crash)

    def shown(self, said: str) -> str:
        code = f"(exit {self.exit_code})\n" if self.exit_code else ""
        return f"$ {self.command}\n{said}{code}"


def outcome(case: Case, root: Path) -> Texts:
    """What becomes of a case in the folder `root`: all that its commands print and emit."""
    if (case.folder / BEFORE).exists():
        return _outcome_after(case, root)
    case.set_up(root)
    return settled(root, [Run.of(check, root), Run.of(generate, root)])


def _outcome_after(case: Case, root: Path) -> Texts:
    """The earlier contract is generated first. What was there must make no difference to what is there then."""
    before = root.with_name(f"{root.name}.{BEFORE}")
    shutil.copytree(case.folder / BEFORE, root)
    Run.of(generate, root)
    shutil.copytree(case.folder / BEFORE, root / BEFORE)
    shutil.rmtree(root / "contracts")
    case.set_up(before)
    shutil.copytree(before / "contracts", root / "contracts")
    runs = [Run.of(check, root), Run.of(diff, root, "--against", BEFORE), Run.of(generate, root)]
    Run.of(generate, before)
    found = dict(settled(root, runs))
    if has_generated(found):
        found[INVALID] += "".join(_history(emitted(before), emitted(root)))
    return found


def _history(from_nothing: Texts, from_before: Texts) -> Iterator[str]:
    for path in sorted(from_nothing.keys() | from_before.keys()):
        if path.startswith("generated/") and from_nothing.get(path) != from_before.get(path):
            yield f"{path}: depends on what was generated before\n"


def settled(root: Path, runs: Sequence[Run]) -> Texts:
    """What there is after these runs."""
    made = emitted(root)
    placed = [path for path, text in made.items() if str(root.parent) in text]
    return {
        **made,
        STDOUT: "\n".join(run.shown(run.stdout) for run in runs).replace(str(root), PROJECT),
        STDERR: "\n".join(run.shown(run.stderr) for run in runs).replace(str(root), PROJECT),
        CRASH: "".join(f"{run.command}: {run.crash}" for run in runs if run.crash),
        INVALID: "".join([*_invalid(made), *(f"{path}: says where it was made\n" for path in placed)]),
    }


def emitted(root: Path) -> Texts:
    return {f"{folder}/{path}": text for folder in EMITTED for path, text in read_tree(root / folder).items()}


def _invalid(made: Texts) -> Iterator[str]:
    for path, text in made.items():
        validate = _VALIDATORS.get(path) or _VALIDATORS.get(path.rpartition(".")[2])
        try:
            if validate is not None:
                validate(text)
        except (ValueError, yaml.YAMLError) as error:
            yield f"{path}: {error}\n"


def _read_json(text: str) -> object:
    """Raises ValueError, for a key that stands twice in an object too."""
    return json.loads(text, object_pairs_hook=_without_twins)


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key twice among {[name for name, _ in pairs]}")
    return found


@cache
def _read_yaml(text: str) -> None:
    """Raises ValueError or YAMLError, for a key that stands twice in a mapping too."""
    waiting: list[Any] = [*yaml.compose_all(text, yaml.CSafeLoader)]  # pyright: ignore - stub leaves types out
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            _without_twins([(key.value, value) for key, value in node.value])
            waiting += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def _validate_openapi(text: str) -> object:
    """Raises ValueError."""
    errors = OpenAPIV31SpecValidator(json.loads(text)).iter_errors()  # pyright: ignore
    if found := sorted({str(error.message) for error in errors}):
        raise ValueError("; ".join(found))
    return None


_VALIDATORS: Mapping[str, Callable[[str], object]] = {
    "generated/openapi.json": _validate_openapi,
    "json": _read_json,
    "yaml": _read_yaml,
}
"""By path, else by what a name ends with."""


def kept(case: Case, found: Texts) -> Texts:
    """What of an outcome is to be expected: the output, the answers, and of what is emitted what the case keeps."""
    tree = {
        path: _parts_of(text, case.parts(path))
        for path, text in found.items()
        if path.startswith(EMITTED) and case.keeps(path)
    }
    said = {
        STDOUT: _without_unkept(case, found[STDOUT]),
        STDERR: found[STDERR],
        ANSWERS: found.get(ANSWERS, ""),
    }
    return {**tree, **{path: text for path, text in said.items() if text}}


def _parts_of(text: str, parts: Sequence[Sequence[str]]) -> str:
    if not parts:
        return text
    document = json.loads(text)
    selected: object = {}
    for keys in parts:
        selected = _merged(selected, _selected(document, keys))
    return json.dumps(selected, indent=2, ensure_ascii=False) + "\n"


def _selected(value: Any, keys: Sequence[str]) -> Any:
    """Objects that have nothing but what the keys lead to; `~1` in a key stands for `/` (RFC 6901)."""
    if not keys:
        return cast(object, value)
    if not isinstance(value, dict):
        return None
    wanted = keys[0].replace("~1", "/")
    members = cast(dict[str, Any], value).items()
    found = {name: _selected(one, keys[1:]) for name, one in members if fnmatchcase(name, wanted)}
    return {name: one for name, one in found.items() if one is not None} or None


def _merged(left: Any, right: Any) -> Any:
    if isinstance(left, dict) and isinstance(right, dict):
        one, other = cast(dict[str, Any], left), cast(dict[str, Any], right)
        return {name: _merged(one.get(name), other.get(name)) for name in one | other}
    return cast(object, left if right is None else right)


def _without_unkept(case: Case, stdout: str) -> str:
    """Without the lines that name a created file which the case does not keep: they are the same everywhere."""
    return "".join(
        line
        for line in stdout.splitlines(keepends=True)
        if not (line.startswith("created  ") and not case.keeps(line.split()[1]))
    )


def has_generated(found: Texts) -> bool:
    """Whether the last command, which is `generate`, has left a whole project."""
    return not re.search(r"\(exit \d+\)\n\Z", found[STDOUT]) and not found[CRASH]


def broken(found: Texts) -> str:
    """What is wrong with an outcome, whatever is expected of it."""
    return "".join(f"{path}\n{found[path]}\n" for path in (CRASH, INVALID, TYPES, IMPORTS) if found.get(path))


def difference(case: Case, found: Texts) -> str:
    """A unified diff from what is expected to what came out."""
    expected, actual = case.expected, kept(case, found)
    return "".join(
        line
        for path in sorted(expected.keys() | actual.keys())
        for line in unified_diff(
            expected.get(path, "").splitlines(keepends=True),
            actual.get(path, "").splitlines(keepends=True),
            f"{case.name}/{EXPECTED}/{path}",
            f"{case.name}/{path}",
        )
    )


def rewrite(case: Case, found: Texts) -> None:
    """Expect from now on what came out; of a case with a known fault nothing."""
    shutil.rmtree(case.folder / EXPECTED, ignore_errors=True)
    for path, text in kept(case, found).items() if case.known_fault is None else ():
        target = case.folder / EXPECTED / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8", newline="\n")
