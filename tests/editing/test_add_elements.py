"""`sagagen add event` and `sagagen add step` with waits, delays and parallel blocks."""

import shutil
from pathlib import Path

import pytest
from test_add_command import SAGA_YAML, contents, findings, run, shop

from sagagen.contract import read_contract
from sagagen.contract.model import Delay, Element, Parallel, Step, Wait
from sagagen.scaffold.project import Template, files_of

__all__ = ["shop"]

RPC = "shop.tablet.v1.TabletService/AnswerTicket"
UNDONE = ("--call", "inventory/ReserveStock", "--compensate", "inventory/ReleaseStock")


@pytest.fixture(scope="module")
def with_tablet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop with an rpc that brings an event: buf runs once for it."""
    root = tmp_path_factory.mktemp("tablet")
    for path, content in files_of(Template.SHOP, "shop").items():
        if path.startswith("contracts/"):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
    assert run(root, "rpc", RPC, "--http", "POST /tickets/{order_id}/answer").exit_code == 0
    return root


@pytest.fixture
def tablet(with_tablet: Path, tmp_path: Path) -> Path:
    return shutil.copytree(with_tablet, tmp_path, dirs_exist_ok=True)


def added(project: Path, *arguments: str) -> str:
    done = run(project, *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def text(project: Path) -> str:
    return (project / SAGA_YAML).read_text()


def steps(project: Path) -> tuple[Element, ...]:
    mesh, found = read_contract(project)
    assert mesh is not None, found
    return mesh.sagas[0].steps


def test_an_event_and_the_step_that_waits_for_it(tablet: Path) -> None:
    said = added(tablet, "event", "place_order", "answered", "--rpc", RPC)
    assert f"{SAGA_YAML}: event answered of place_order\n" in said
    assert 'error[SG221]: nothing waits for the event "answered"' in said
    assert said.endswith("Next: sagagen add step place_order NAME --wait answered, then sagagen generate\n")
    assert f"      answered: {{ rpc: {RPC}, saga_id: event.order_id }}\n" in text(tablet)
    added(
        tablet,
        *(
            "step",
            "place_order",
            "answer",
            "--wait",
            "answered",
            "--within",
            "20s",
            "--after",
            "create_order",
        ),
    )
    assert "      - name: answer\n        wait: answered\n        within: 20s\n" in text(tablet)
    assert findings(tablet) == ["SG223"]
    wait = steps(tablet)[1]
    assert isinstance(wait, Wait)
    assert (wait.event, wait.within_s, wait.kind.value) == ("answered", 20.0, "compensatable")


def test_a_delay_at_the_end_is_retriable(shop: Path) -> None:
    added(shop, "step", "place_order", "pause", "--delay", "1h")
    assert (
        text(shop).rstrip().endswith("- name: pause\n        kind: retriable\n        delay: { after: 1h }")
    )
    assert findings(shop) == []
    delay = steps(shop)[-1]
    assert isinstance(delay, Delay)
    assert delay.after_s == 3600.0


def test_a_block_and_the_steps_of_its_branches(shop: Path) -> None:
    said = added(shop, "step", "place_order", "both", "--parallel", "left,right", "--after", "create_order")
    assert said.endswith("Next: sagagen add step place_order NAME --in both/left --call SERVICE/METHOD\n")
    assert findings(shop) == ["SG205", "SG205"]
    added(shop, "step", "place_order", "take", *UNDONE, "--in", "both/left")
    added(shop, "step", "place_order", "pause", "--delay", "1s", "--in", "both/right")
    added(shop, "step", "place_order", "look", "--call", "inventory/GetStock", "--after", "pause")
    assert (
        "      - name: both\n"
        "        parallel:\n"
        "          left:\n"
        "            - name: take\n"
        "              call: inventory/ReserveStock\n"
        "              request: {}\n"
        "              compensate: { call: inventory/ReleaseStock, request: {} }\n"
        "          right:\n"
        "            - name: pause\n"
        "              delay: { after: 1s }\n"
        "            - name: look\n"
        "              call: inventory/GetStock\n"
        "              request: {}\n"
    ) in text(shop)
    assert set(findings(shop)) == {"SG081"}  # the requests are left to fill in


def test_a_retriable_block_gives_its_steps_their_kind(shop: Path) -> None:
    added(shop, "step", "place_order", "afterwards", "--parallel", "mail, points")
    added(shop, "step", "place_order", "pause", "--delay", "1m", "--in", "afterwards/mail")
    added(shop, "step", "place_order", "rest", "--delay", "2m", "--in", "afterwards/points")
    assert findings(shop) == []
    block = steps(shop)[-1]
    assert isinstance(block, Parallel)
    assert [[each.kind.value for each in branch.steps] for branch in block.branches] == [["retriable"]] * 2
    assert text(shop).count("kind: retriable") == 1


def test_a_step_can_follow_one_in_brackets(shop: Path) -> None:
    added(shop, "step", "place_order", "both", "--parallel", "left", "--after", "create_order")
    yaml = text(shop).replace("left: []", "left: [{ name: nap, delay: { after: 1s } }]")
    (shop / SAGA_YAML).write_text(yaml)
    added(shop, "step", "place_order", "pause", "--delay", "2s", "--after", "nap")
    assert "left: [{ name: nap, delay: { after: 1s } }, { name: pause, delay: { after: 2s } }]" in text(shop)
    assert findings(shop) == []


def test_the_same_again_changes_nothing(tablet: Path) -> None:
    commands = (
        ("event", "place_order", "answered", "--rpc", RPC),
        ("step", "place_order", "answer", "--wait", "answered", "--within", "5s", "--after", "create_order"),
        ("step", "place_order", "pause", "--delay", "1s", "--after", "answer"),
        ("step", "place_order", "both", "--parallel", "left", "--after", "pause"),
        ("step", "place_order", "take", *UNDONE, "--in", "both/left"),
    )
    for command in commands:
        added(tablet, *command)
    before = contents(tablet)
    for command in commands:
        assert "is already there: nothing was changed" in added(tablet, *command)
    assert contents(tablet) == before
    assert any(isinstance(each, Step) for each in steps_of_block(tablet))


def steps_of_block(project: Path) -> tuple[Element, ...]:
    filled = text(project).replace("request: {}", "request: { order_id: saga.id }")
    filled = filled.replace(
        "inventory/ReserveStock\n              request", "inventory/ReleaseStock\n              request"
    )
    (project / SAGA_YAML).write_text(filled)
    block = next(each for each in steps(project) if isinstance(each, Parallel))
    return block.branches[0].steps


REFUSED = [
    (("step", "place_order", "x"), "say one of --call, --wait, --delay and --parallel, not none of them"),
    (("step", "place_order", "x", "--call", "order/GetOrder", "--delay", "1s"), "not --call and --delay"),
    (("step", "place_order", "x", "--delay", "1s", "--compensate", "none"), "--delay leaves nothing to undo"),
    (("step", "place_order", "x", "--delay", "1s", "--within", "2s"), "--within is for a wait"),
    (("step", "place_order", "x", "--delay", "soon"), "SG101"),
    (("step", "place_order", "x", "--delay", "5"), "give it a unit: 5s"),
    (("step", "place_order", "x", "--delay", "2m", "--kind", "compensatable"), "SG213"),
    (("step", "place_order", "x", "--wait", "answered"), "--within 24h"),
    (("step", "place_order", "x", "--wait", "answered", "--within", "1h"), "SG220"),
    (("step", "place_order", "x", "--delay", "1s", "--in", "both/left"), "write BLOCK/BRANCH"),
    (("step", "place_order", "x", "--delay", "1s", "--in", "a/b", "--after", "c"), "leave --in out"),
    (("step", "place_order", "x", "--parallel", "Left"), 'did you mean "left"?'),
    (("step", "place_order", "x", "--delay", "1s", "--kind", "pivot"), "SG203"),
    (("step", "place_order", "create_order", "--delay", "1s"), "which calls order/CreateOrder"),
    (("event", "place_orde", "x", "--rpc", RPC), 'did you mean "place_order"?'),
    (("event", "place_order", "X", "--rpc", RPC), 'did you mean "x"?'),
    (("event", "place_order", "x", "--rpc", "shop.tablet.v1.TabletService/Answer"), "no proto declares an rpc"),
    (("event", "place_order", "x", "--rpc", "shop.order.v1.OrderService/CancelOrder"), "SG031"),
    (("event", "place_order", "x", "--rpc", "shop.checkout.v1.CheckoutService/PlaceOrder", "--saga-id", "event.customer_id"), "SG222"),
    (
        ("event", "place_order", "x", "--rpc", "shop.order.v1.OrderService/CreateOrder"),
        "say which saga an event is for: --saga-id event.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("command", "message"), REFUSED, ids=[" ".join(case[0][:6]) for case in REFUSED])
def test_what_would_be_wrong_is_refused_and_nothing_is_touched(
    command: tuple[str, ...], message: str, tablet: Path
) -> None:
    before = contents(tablet)
    done = run(tablet, *command)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert contents(tablet) == before


def test_an_event_is_not_declared_twice(tablet: Path) -> None:
    added(tablet, "event", "place_order", "answered", "--rpc", RPC)
    other = "shop.tablet.v1.TabletService/Other"
    assert run(tablet, "rpc", other, "--http", "POST /other/{order_id}").exit_code == 0
    again = run(tablet, "event", "place_order", "answered", "--rpc", other)
    assert again.exit_code == 2
    assert f'there is already an event "answered", which {RPC} brings' in again.stderr
