"""What each row of a saga leaves in the services' tables, approved by a person: one text file for each saga.

    tests/snapshots/place_order.txt

    volatile payment.payments.payment_id

    COMPENSATED
    when authorise: keeps-failing, answers-lost
    when answer: never, event-late
    left payment.payments + order_id=<saga> payment_id=* status=VOIDED

A block has the rows that end alike and leave the same. So the file is short enough to be read, and its diff says which
rows end otherwise than before.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import ndiff
from pathlib import Path

from sagagen.testing.tables import Column

SNAPSHOTS = Path("tests", "snapshots")
"""Where they are, relative to the project's root."""

_WHEN, _LEFT, _NOTE, _VOLATILE = "when ", "left ", "note ", "volatile "
_WHOLE = "the saga"
"""Stands for the element of rows that are about none."""

_HEAD = """\
# What saga {saga} leaves in the services' tables, in each way in which it can go: + a row that is new, - one that is
# gone, ~ one that has changed. <saga> is the saga's id, and * what differs in each run.
# Read it, and keep it with `sagagen test --matrix --approve`.
"""


class SnapshotError(Exception):
    """A file of tests/snapshots can't be read; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a row ends, and what it leaves."""

    ends: str
    """In words: `COMPENSATED`, `COMPLETED, incomplete: send_mail`."""
    left: tuple[str, ...] = ()
    """Changes of rows in tables, in words."""
    notes: tuple[str, ...] = ()
    """What looks like a mistake, and is none once it is approved."""

    def lines(self) -> list[str]:
        left = [f"{_LEFT}{change}" for change in self.left] or [f"{_LEFT}nothing"]
        return [self.ends, *left, *(f"{_NOTE}{note}" for note in self.notes)]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Of one saga."""

    endings: Mapping[str, Ending] = field(default_factory=dict[str, Ending])
    """By the row's name, without that of the saga."""
    volatile: frozenset[Column] = frozenset()


def path_of(root: Path, saga: str) -> Path:
    return root / SNAPSHOTS / f"{saga}.txt"


def read(root: Path, saga: str) -> Snapshot | None:
    """What is approved; None if nothing is. Raises SnapshotError naming the line that can't be read."""
    path = path_of(root, saga)
    try:
        return parsed(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise SnapshotError(f"{path.relative_to(root).as_posix()}: {error}") from error


def write(root: Path, saga: str, snapshot: Snapshot) -> Path:
    path = path_of(root, saga)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(rendered(saga, snapshot), "utf-8")
    return path


def rendered(saga: str, snapshot: Snapshot) -> str:
    volatile = [f"{_VOLATILE}{column}" for column in sorted(snapshot.volatile)]
    blocks = ["\n".join(block) for block in _blocks(snapshot.endings)]
    return "\n".join(
        [
            _HEAD.format(saga=saga) + "\n".join(["", *volatile, ""] if volatile else [""]),
            "\n\n".join(blocks),
            "",
        ]
    )


def _blocks(endings: Mapping[str, Ending]) -> Iterator[list[str]]:
    alike: dict[Ending, list[str]] = {}
    for name, ending in endings.items():
        alike.setdefault(ending, []).append(name)
    for ending, names in alike.items():
        ends, *left = ending.lines()
        yield [ends, *_whens(names), *left]


def _whens(names: Iterable[str]) -> Iterator[str]:
    ways: dict[str, list[str]] = {}
    for name in names:
        key, _, way = name.rpartition("/")
        ways.setdefault(key or _WHOLE, []).append(way)
    for key, found in ways.items():
        yield f"{_WHEN}{key}: {', '.join(found)}"


def parsed(text: str) -> Snapshot:
    """Raises ValueError naming the line that is none of a snapshot."""
    endings: dict[str, Ending] = {}
    volatile: set[Column] = set()
    names: list[str] = []
    block: list[str] = []
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if line.startswith("#"):
            continue
        if line.startswith(_VOLATILE):
            volatile.add(_column(line.removeprefix(_VOLATILE), number))
        elif line.startswith(_WHEN):
            names += _names(line.removeprefix(_WHEN), number)
        elif line:
            block.append(line)
        elif block:
            ending = _ending(block, number - 1)
            endings |= dict.fromkeys(names, ending)
            names, block = [], []
    return Snapshot(endings, frozenset(volatile))


def _names(words: str, number: int) -> list[str]:
    key, separator, ways = words.rpartition(": ")
    if not separator:
        raise ValueError(f"line {number}: no `when ELEMENT: WAY, WAY`; approve it anew with --approve")
    return [way if key == _WHOLE else f"{key}/{way}" for way in ways.split(", ")]


def _column(words: str, number: int) -> Column:
    service, _, rest = words.partition(".")
    table, _, name = rest.rpartition(".")
    if not (service and table and name):
        raise ValueError(f"line {number}: no `volatile SERVICE.TABLE.COLUMN`")
    return Column(service, table, name)


def _ending(block: Sequence[str], number: int) -> Ending:
    ends, *rest = block
    left = tuple(line.removeprefix(_LEFT) for line in rest if line.startswith(_LEFT))
    notes = tuple(line.removeprefix(_NOTE) for line in rest if line.startswith(_NOTE))
    if len(left) + len(notes) < len(rest):
        raise ValueError(
            f"line {number}: a block ends that has lines of no kind; approve it anew with --approve"
        )
    return Ending(ends, () if left == ("nothing",) else left, notes)


def unlike(approved: Ending, found: Ending) -> list[str]:
    """The difference, as lines that begin with `-` for what was approved and `+` for what is found."""
    lines = ndiff(approved.lines(), found.lines())
    return [line.rstrip("\n") for line in lines if line[0] in "+-"]
