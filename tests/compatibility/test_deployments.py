"""What the diff says, tried on real processes: an order is under way, kill -9, the changed contract is deployed.

SAGAGEN_PROOFS=all tries every case; by default a few of each kind are.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from contract_pair import SAGA_YAML, Edit, changes, edited, severities
from project_copy import WRITTEN, copy_project, generate
from stack import Stack, post_order, sagas_at
from test_diff_command import git
from test_diff_rules import CASES
from test_trees_tell_the_truth import CASES as TREE_CASES
from test_trees_tell_the_truth import GOES_ON as TREE_GOES_ON
from test_trees_tell_the_truth import SHOP_TO_TREE
from test_trees_tell_the_truth import WAITS as TREE_WAITS
from test_trees_tell_the_truth import changes as changes_of_a_tree
from thorough import TRIES_ALL, chosen
from waiting import eventually

from sagagen.cli import main

pytestmark = pytest.mark.slow
KEY = "under-way"
FRESH_S = 20.0
"""An order of the shop has 60 s, and a case may need a third of them."""
LONGER = ("    deadline: 60s\n", "    deadline: 10m\n")

WAITS = [
    *("step with a compensation removed", "saga renamed", "request built otherwise"),  # by default the first
    *("version raised", "first step with a compensation removed", "step renamed", "pivot renamed"),
    *("steps reordered", "step inserted in the middle", "step inserted before the pivot"),
    *("another rpc of the same service", "a field of a request left out", "kind changed"),
    *("pivot moved earlier", "compensation removed", "compensation calls another rpc"),
    *("compensation built otherwise", "status changed", "answered at a later step", "answer without a body"),
]
GOES_ON = [
    *("deadline raised", "white space in an expression", "field added"),  # by default the first
    *("a comment", "another order of keys", "flow style becomes block style", "rpc added", "saga added"),
    *(
        "another name of a macro's variable",
        "the same duration in another unit",
        "a default that is written out",
    ),
    *("timeout raised", "answers kept longer", "limits raised", "a maximum raised", "a rule removed"),
    *("route added", "enum value added", "an rpc is marked idempotent"),
]


@dataclass(frozen=True)
class Begun:
    """An order at its payment, as a kill left it: the data, and the project that began it."""

    data_dir: Path
    project: Path
    order_id: str
    cases: Mapping[str, Sequence[Edit]]
    """What may be changed in the project, by name."""


class Orders:
    """Begins an order for whoever asks; again, when the last one gets too old: it has a deadline."""

    def __init__(
        self,
        folder: Path,
        base: Sequence[Edit],
        cases: Mapping[str, Sequence[Edit]],
        fresh_s: float = FRESH_S,
    ) -> None:
        """`base`: what makes the project of the shop."""
        self._fresh_s = fresh_s
        self._folder = folder
        self._base = base
        self._cases = cases
        self._last: Begun | None = None
        self._begun_at = 0.0

    def fresh(self) -> Begun:
        if self._last is None or time.monotonic() - self._begun_at > self._fresh_s:
            self._begun_at = time.monotonic()
            self._last = begin(Path(tempfile.mkdtemp(dir=self._folder)), self._base, self._cases)
        return self._last


def begin(folder: Path, base: Sequence[Edit], cases: Mapping[str, Sequence[Edit]]) -> Begun:
    project = copy_project("shop", folder / "shop", (*WRITTEN, "generated"))
    if base:
        edit(project, base)
        generate(project)
    with closing(Stack(folder / "var", root=project)) as stack:
        stack.start("up")
        with stack.holding_writes("payment"), ThreadPoolExecutor(1) as pool:
            answer = pool.submit(post_order, stack, KEY)
            eventually("an order at its payment", lambda: sagas_at(stack, "charge_payment"))
            stack.kill("up")
            order_id = str(answer.result().json()["order_id"])
    return Begun(folder / "var", project, order_id, cases)


def edit(project: Path, edits: Sequence[Edit]) -> None:
    for path, was, now in edits:
        (project / path).write_text(edited((project / path).read_text(), was, now))


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Orders:
    return Orders(tmp_path_factory.mktemp("begun"), [], {name: edits for name, (edits, _) in CASES.items()})


@pytest.fixture(scope="module")
def orders_of_a_tree(tmp_path_factory: pytest.TempPathFactory) -> Orders:
    """An order waits in one of two branches."""
    cases = {name: of_yaml(edits) for name, (edits, _) in TREE_CASES.items()}
    base = of_yaml([SHOP_TO_TREE, LONGER])
    return Orders(tmp_path_factory.mktemp("begun-tree"), base, cases, fresh_s=10 * FRESH_S)


def of_yaml(edits: Sequence[tuple[str, str]]) -> Sequence[Edit]:
    return [(SAGA_YAML, was, now) for was, now in edits]


@pytest.fixture
def begun(request: pytest.FixtureRequest) -> Begun:
    """Of a line, or by the fixture that the test names."""
    orders: Orders = request.getfixturevalue(getattr(request, "param", "orders"))
    return orders.fresh()


@pytest.fixture
def deploy(begun: Begun, tmp_path: Path) -> Iterator[Callable[[str], Stack]]:
    """Starts what a case makes of the shop, on the data of the order under way."""
    stacks: list[Stack] = []
    data_dir = Path(shutil.copytree(begun.data_dir, tmp_path / "var"))

    def deployed(name: str) -> Stack:
        for stack in stacks:
            stack.close()
        project = begun.project if not name else changed(begun, name, tmp_path / "changed")
        stacks.append(Stack(data_dir, root=project))
        stacks[-1].start("up")
        return stacks[-1]

    yield deployed
    for stack in stacks:
        stack.close()


def changed(begun: Begun, name: str, project: Path) -> Path:
    """The project after the change, generated as its developers would."""
    shutil.copytree(begun.project, project)
    edit(project, begun.cases[name])
    return generate(project)


def shown(stack: Stack, order_id: str) -> dict[str, Any]:
    return stack.admin.get(f"/sagas/{order_id}").json()


def await_end(stack: Stack, order_id: str) -> None:
    eventually("the order to end", lambda: is_over(stack, order_id))


def charges(stack: Stack) -> int:
    return int(stack.rows("payment", "SELECT count(*) FROM payments")[0][0])


def is_over(stack: Stack, order_id: str) -> bool:
    return shown(stack, order_id)["status"] == "COMPLETED"


OF_A_TREE = pytest.mark.parametrize("begun", ["orders_of_a_tree"], indirect=True)


@pytest.mark.parametrize("name", chosen(WAITS, first=2))
def test_what_is_called_breaking_stops_the_order_under_way_and_a_way_back_ends_it(
    name: str, begun: Begun, deploy: Callable[[str], Stack], tmp_path: Path
) -> None:
    found = severities(changes(tmp_path / "compared", CASES[name][0]))
    assert "breaking" in {found.get(code) for code in ("SD002", "SD003", "SD004")}
    stops_the_order(name, begun, deploy)


@OF_A_TREE
@pytest.mark.parametrize("name", chosen(TREE_WAITS, first=1))
def test_what_stops_an_order_in_a_branch_is_called_breaking(
    name: str, begun: Begun, deploy: Callable[[str], Stack]
) -> None:
    assert severities(changes_of_a_tree(name))["SD004"] == "breaking"
    stops_the_order(name, begun, deploy)


def stops_the_order(name: str, begun: Begun, deploy: Callable[[str], Stack]) -> None:
    stack = deploy(name)
    saga = shown(stack, begun.order_id)
    assert (saga["status"], "place_order version 1" in saga["waiting_for"]) == ("RUNNING", True)
    time.sleep(0.5)  # in which it might be charged
    assert (charges(stack), is_over(stack, begun.order_id)) == (0, False)
    stack = deploy("")
    await_end(stack, begun.order_id)
    assert charges(stack) == 1


@pytest.mark.parametrize("name", chosen(GOES_ON, first=1))
def test_what_is_not_breaking_lets_it_end_and_its_key_answers_as_before(
    name: str, begun: Begun, deploy: Callable[[str], Stack], tmp_path: Path
) -> None:
    assert "breaking" not in severities(changes(tmp_path / "compared", CASES[name][0])).values()
    lets_it_end(name, begun, deploy)


@OF_A_TREE
@pytest.mark.parametrize("name", chosen(TREE_GOES_ON, first=1))
def test_what_lets_an_order_in_a_branch_end_is_not_called_breaking(
    name: str, begun: Begun, deploy: Callable[[str], Stack]
) -> None:
    assert "breaking" not in severities(changes_of_a_tree(name)).values()
    lets_it_end(name, begun, deploy)


def lets_it_end(name: str, begun: Begun, deploy: Callable[[str], Stack]) -> None:
    stack = deploy(name)
    await_end(stack, begun.order_id)
    again = post_order(stack, KEY)
    assert (again.status_code, again.json()["order_id"]) == (201, begun.order_id)
    assert again.headers["idempotency-replayed"] == "true"
    assert charges(stack) == 1


def test_a_version_that_is_kept_after_the_edit_ends_the_order_under_way(begun: Begun, tmp_path: Path) -> None:
    """Edit, `diff`, `bump` as it advises, `diff`, deploy."""
    project = Path(shutil.copytree(begun.project, tmp_path / "changed"))
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-qm", "deployed")):
        git(project, *words)
    edit(project, begun.cases["request built otherwise"])
    exits = [
        CliRunner().invoke(main, [*words, "--project", str(project)]).exit_code
        for words in (["diff", "--against", "main"], ["bump", "place_order"], ["diff", "--against", "main"])
    ]
    assert exits == [1, 0, 0]
    data_dir = Path(shutil.copytree(begun.data_dir, tmp_path / "var"))
    with closing(Stack(data_dir, root=generate(project))) as stack:
        stack.start("up")
        await_end(stack, begun.order_id)
        assert charges(stack) == 1


def test_another_project_does_not_know_the_keys_of_the_old_one(
    begun: Begun, deploy: Callable[[str], Stack]
) -> None:
    """SD011: the order under way still ends, but its key makes another one, which is charged too."""
    stack = deploy("project renamed")
    await_end(stack, begun.order_id)
    another = post_order(stack, KEY)
    assert another.status_code == 201
    assert another.json()["order_id"] != begun.order_id
    eventually("a second charge", lambda: charges(stack), lambda count: count == 2)


@pytest.mark.skipif(not TRIES_ALL, reason="SAGAGEN_PROOFS=all tries it")
@pytest.mark.parametrize(
    ("name", "status"),
    [("route with another verb", 405), ("a minimum raised", 400)],
)
def test_what_breaks_clients_is_refused(name: str, status: int, deploy: Callable[[str], Stack]) -> None:
    stack = deploy(name)
    assert post_order(stack, KEY).status_code == status
