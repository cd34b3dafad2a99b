#!/usr/bin/env python
"""Change the code a little, in many places, and see which changes no test minds: `python bench/mutate.py saga log`.

Each mutant is one change of one module (a condition is negated, a call is left out, a bound moves by one ...). It is
written into a copy of the tree, where the room's tests then run until the first one fails. A mutant that all tests
survive is a line that nothing holds: a test is missing, or the change means nothing.

    python bench/mutate.py log                                   # a room, with the tests that are its own
    python bench/mutate.py codegen/sagagen/runtime/log/store.py --tests tests/engine/test_saga_log_file.py
    python bench/mutate.py saga --sample 50 --seed 7 --jobs 2
    python bench/mutate.py log --again                           # new tests: do the survivors still survive?
    python bench/mutate.py log --summary                         # counts and survivors of what has run so far

Results are lines of JSON, in var/mutants.jsonl or `--out`. A run that is stopped goes on where it was; a module that
has changed since, or other tests, run anew. Statements that only log are left alone, and so are annotations, decorators
and docstrings.
"""

import argparse
import ast
import hashlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from random import Random
from typing import cast

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = "codegen/sagagen/runtime"
ROOMS: dict[str, tuple[str, ...]] = {
    "saga": (
        "tests/engine/test_decision_table.py",
        "tests/engine/test_retry_backoff.py",
        "tests/engine/test_engine_runs.py",
        "tests/engine/test_decision_property.py",
        "tests/engine",
        "tests/operator/test_admin_sagas.py",
    ),
    "log": ("tests/engine/test_saga_log_file.py", "tests/engine", "tests/operator/test_admin_sagas.py"),
    "engine": ("tests/engine", "tests/operator/test_admin_sagas.py", "tests/telemetry"),
    "service": ("tests/service",),
    "admin": ("tests/operator",),
}
"""The rooms that are usually mutated, and their tests: the quick and telling ones first, since the first failure ends a
run. pytest runs a file that is named twice only once."""

SLACK = 4.0
"""How many times as long as the tests take without a mutant a run may last; then it counts as a hang."""
LEAST_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one module."""

    module: str
    """Path from the root."""
    line: int
    """Starts at 1, and so does the column."""
    column: int
    start: int
    """The text that goes, in bytes of UTF-8 from the beginning of the module."""
    end: int
    operator: str
    was: str
    now: str
    key: str = ""
    """What a result is kept under: the change, the module's text and the tests."""


Change = tuple[str, ast.AST, str]
"""Operator, the node whose text goes, and the text that comes."""

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
_NEGATIONS: dict[type[ast.cmpop], list[str]] = {
    ast.Lt: [">="],
    ast.LtE: [">"],
    ast.Gt: ["<="],
    ast.GtE: ["<"],
}
_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.Mod: "*",
    ast.BitAnd: "|",
    ast.BitOr: "&",
}
_EMPTY = {"str": '""', "bool": "False", "int": "0", "float": "0.0", "bytes": 'b""'}


def changes_of(tree: ast.Module) -> Iterator[Change]:
    for node in _mutable(tree):
        yield from _conditions(node)
        yield from _expressions(node)
        yield from _statements(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _returns(node)


def _mutable(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that do something: no annotations, decorators, docstrings, logging or type aliases."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "bases"):
            continue
        children = cast(list[object], value) if isinstance(value, list) else [value]
        for child in children:
            if isinstance(child, ast.AST) and not _is_text(child) and not _is_logging(child):
                yield from _mutable(child)


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_logging(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and ast.unparse(node).startswith("_logger.")


def _conditions(node: ast.AST) -> Iterator[Change]:
    for test in _tests(node):
        # "drop not" and "swap comparison" negate the others.
        if not isinstance(test, ast.UnaryOp | ast.Compare):
            yield "negate condition", test, f"not ({ast.unparse(test)})"


def _tests(node: ast.AST) -> Sequence[ast.expr]:
    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            return [test]
        case ast.comprehension(ifs=tests):
            return tests
        case ast.match_case(guard=ast.expr() as test):
            return [test]
        case _:
            return []


def _expressions(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare(left=left, ops=[operator], comparators=[right]) if type(operator) in _COMPARISONS:
            for swapped in (_COMPARISONS[type(operator)], *_NEGATIONS.get(type(operator), ())):
                yield "swap comparison", node, f"({ast.unparse(left)} {swapped} {ast.unparse(right)})"
        case ast.Compare(left=left, ops=[first, second], comparators=[middle, right]):
            for ops in ((_other(first), second), (first, _other(second))):
                yield (
                    "swap comparison",
                    node,
                    f"({ast.unparse(ast.Compare(left, list(ops), [middle, right]))})",
                )
        case ast.BoolOp(op=operator, values=values):
            word = " and " if isinstance(operator, ast.Or) else " or "
            yield "and/or", node, f"({word.join(f'({ast.unparse(value)})' for value in values)})"
            for value in values:
                yield "drop operand", node, f"({ast.unparse(_without(node, value))})"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "drop not", node, f"({ast.unparse(operand)})"
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _ARITHMETIC:
            if not isinstance(left, ast.Constant) or not isinstance(left.value, str):
                other = _ARITHMETIC[type(operator)]
                yield "swap operator", node, f"(({ast.unparse(left)}) {other} ({ast.unparse(right)}))"
        case ast.Constant(value=bool(value)):
            yield "flip constant", node, str(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield "constant + 1", node, repr(value + 1)
            yield "constant - 1", node, f"({value - 1!r})"
        case _:
            return


def _without(node: ast.BoolOp, value: ast.expr) -> ast.expr:
    left = [each for each in node.values if each is not value]
    return left[0] if len(left) == 1 else ast.BoolOp(node.op, left)


def _other(operator: ast.cmpop) -> ast.cmpop:
    swapped = ast.parse(f"a {_COMPARISONS[type(operator)]} b", mode="eval").body
    assert isinstance(swapped, ast.Compare)
    return swapped.ops[0]


def _statements(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield "drop call", node, "pass"
        case ast.AugAssign() | ast.Raise() | ast.Delete():
            yield "drop statement", node, "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "drop statement", node, "pass"
        case ast.Continue():
            yield "continue/break", node, "break"
        case ast.Break():
            yield "continue/break", node, "continue"
        case _:
            return


def _returns(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Change]:
    constant = _EMPTY.get(ast.unparse(function.returns) if function.returns else "", "None")
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and _owner(function, node) and node.value is not None:
            was = ast.unparse(node.value)
            if was != constant:
                yield "return constant", node, f"return {constant}"
            if constant == "False" and was != "True":
                yield "return constant", node, "return True"


def _owner(function: ast.AST, node: ast.Return) -> bool:
    """Not of a function within: that one has its own turn."""
    inner = [
        each
        for each in ast.walk(function)
        if each is not function and isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return not any(node in ast.walk(each) for each in inner)


def mutants_of(module: str, text: str) -> list[Mutant]:
    """All mutants of a module, in the order of its text."""
    found = [_mutant(module, text, change) for change in changes_of(ast.parse(text))]
    different = {(each.start, each.end, each.now): each for each in found if each.was != each.now}
    return sorted(different.values(), key=lambda each: (each.start, each.end, each.operator, each.now))


def _mutant(module: str, text: str, change: Change) -> Mutant:
    operator, node, now = change
    assert isinstance(node, ast.expr | ast.stmt)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    starts = [0, *_line_ends(text)]
    start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
    was = text.encode()[start:end].decode()
    return Mutant(module, node.lineno, node.col_offset + 1, start, end, operator, was, now)


def _line_ends(text: str) -> Iterator[int]:
    at = 0
    for line in text.encode().splitlines(keepends=True):
        at += len(line)
        yield at


def mutated(text: str, mutant: Mutant) -> str:
    raw = text.encode()
    changed = (raw[: mutant.start] + mutant.now.encode() + raw[mutant.end :]).decode()
    ast.parse(changed)
    return changed


class Tree:
    """A copy of the tree, in which one mutant at a time is tried."""

    _stamps = count(int(time.time()))
    """Times of modification, all different: else a byte code that was compiled from another mutant would be taken."""

    def __init__(self, folder: Path, tests: Sequence[str]) -> None:
        self._folder = folder
        self._tests = tests
        files = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        ).stdout
        for name in files.decode().split("\0"):
            source = ROOT / name
            if name and source.is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, folder / name)

    def read(self, module: str) -> str:
        return (self._folder / module).read_text()

    def write(self, module: str, text: str) -> None:
        path = self._folder / module
        path.write_text(text)
        stamp = next(self._stamps)
        os.utime(path, (stamp, stamp))

    def test(self, limit_s: float | None) -> tuple[str, str]:
        """`killed`, `survived` or `hangs`, and which test said so."""
        paths = os.pathsep.join(str(self._folder / each) for each in ("codegen", ".", "tests"))
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *self._tests],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return "hangs", ""
        return _verdict(process.returncode, output)


def _verdict(code: int, output: str) -> tuple[str, str]:
    if code == 0:
        return "survived", ""
    if code in (1, 2):  # a test failed, or a module can't even be imported
        said = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return "killed", said[0][:200] if said else output[-200:]
    raise RuntimeError(f"pytest ended with {code}:\n{output[-2000:]}")


class Results:
    """The lines of JSON that are there, and those that come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.by_key = {line["key"]: line for line in map(json.loads, lines)}

    def add(self, mutant: Mutant, result: str, by: str, took_s: float) -> None:
        line = {**asdict(mutant), "result": result, "by": by, "took_s": round(took_s, 1)}
        with self._lock:
            self.by_key[mutant.key] = line
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{result:9}{mutant.module}:{mutant.line} {mutant.operator}: {_shown(mutant)}", flush=True)


def _shown(mutant: Mutant) -> str:
    was, now = " ".join(mutant.was.split()), " ".join(mutant.now.split())
    return f"{was[:70]}  ->  {now[:70]}"


def modules_of(names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        path = ROOT / (f"{RUNTIME}/{name}" if name in ROOMS else name)
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        found += [str(file.relative_to(ROOT)) for file in files]
    return found


def chosen(given: argparse.Namespace, tests: Sequence[str]) -> list[Mutant]:
    """The mutants to try, each with its key; a sample of them if one is asked for."""
    found: list[Mutant] = []
    for module in modules_of(given.what):
        text = (ROOT / module).read_text()
        for mutant in mutants_of(module, text):
            told = "\0".join((text, *tests, str(mutant.start), str(mutant.end), mutant.now))
            found.append(replace(mutant, key=hashlib.sha256(told.encode()).hexdigest()[:16]))
    if given.sample and given.sample < len(found):
        found = Random(given.seed).sample(found, given.sample)
    return found


def run(mutants: Sequence[Mutant], tests: Sequence[str], results: Results, jobs: int, limit_s: float) -> None:
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees: queue.SimpleQueue[Tree] = queue.SimpleQueue()
        for number in range(jobs):
            trees.put(Tree(Path(folder) / str(number), tests))
        limit_s = limit_s or _usual_limit_s(trees)
        print(f"{len(mutants)} mutants, {limit_s:.0f} s for each at most", flush=True)
        with ThreadPoolExecutor(jobs) as pool:
            for _ in pool.map(_trying(trees, results, limit_s), mutants):
                pass


def _usual_limit_s(trees: "queue.SimpleQueue[Tree]") -> float:
    tree = trees.get()
    begun_s = time.monotonic()
    verdict, by = tree.test(None)
    if verdict != "survived":
        raise SystemExit(f"the tests fail without any mutant: {by}")
    trees.put(tree)
    return max(LEAST_LIMIT_S, SLACK * (time.monotonic() - begun_s))


def _trying(trees: "queue.SimpleQueue[Tree]", results: Results, limit_s: float) -> Callable[[Mutant], None]:
    def attempt(mutant: Mutant) -> None:
        tree, begun_s = trees.get(), time.monotonic()
        text = tree.read(
            mutant.module
        )  # as it was when the run began, whatever is written beside it meanwhile
        try:
            tree.write(mutant.module, mutated(text, mutant))
            result, by = tree.test(limit_s)
            results.add(mutant, result, by, time.monotonic() - begun_s)
        finally:
            tree.write(mutant.module, text)
            trees.put(tree)

    return attempt


def summarize(mutants: Sequence[Mutant], results: Results) -> None:
    lines = [results.by_key[each.key] for each in mutants if each.key in results.by_key]
    for module in sorted({line["module"] for line in lines}):
        counts = Counter(line["result"] for line in lines if line["module"] == module)
        print(f"{module}: {', '.join(f'{number} {result}' for result, number in sorted(counts.items()))}")
    print(f"{len(lines)} of {len(mutants)} mutants have run")
    for line in lines:
        if line["result"] == "survived":
            mutant = Mutant(**{name: line[name] for name in Mutant.__dataclass_fields__})
            print(f"  {mutant.module}:{mutant.line} {mutant.operator}: {_shown(mutant)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Which small changes of the code does no test mind?")
    parser.add_argument("what", nargs="+", help=f"rooms ({', '.join(ROOMS)}), folders or files")
    parser.add_argument("--tests", nargs="+", help="what pytest runs; default: the rooms' own")
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "mutants.jsonl", help="the results")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at once, each in a copy of the tree")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="only so many, chosen by --seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit-s", type=float, default=0.0, help="default: four times an unmutated run")
    parser.add_argument("--again", action="store_true", help="survivors run once more: for new tests")
    parser.add_argument("--summary", action="store_true", help="run nothing")
    given = parser.parse_args()
    tests = given.tests or list(dict.fromkeys(t for each in given.what for t in ROOMS.get(each, ())))
    if not tests:
        parser.error("files need --tests")
    results, mutants = Results(given.out), chosen(given, tests)
    if not given.summary:
        done = {
            key for key, line in results.by_key.items() if not (given.again and line["result"] == "survived")
        }
        left = [each for each in mutants if each.key not in done]
        if left:
            run(left, tests, results, given.jobs, given.limit_s)
    summarize(mutants, results)


if __name__ == "__main__":
    main()
