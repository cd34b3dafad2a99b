"""Starting and stopping: signals, taken ports, children that must not outlive their parent."""

import operator
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from shop_invariants import await_terminal
from stack import Stack, place_order, post_order
from thorough import chosen
from waiting import LIMIT_S, eventually, under_load

pytestmark = pytest.mark.slow


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    """A zombie, which waits for init to take note of its end, runs no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def await_gone(pids: list[int]) -> None:
    eventually("processes to end", lambda: [pid for pid in pids if is_running(pid)], operator.not_)


@pytest.mark.parametrize(
    ("topology", "number"),
    chosen(
        [
            ("up", signal.SIGINT),
            ("mesh", signal.SIGTERM),
            ("up", signal.SIGTERM),
            ("mesh", signal.SIGINT),
        ],
        first=2,
    ),
)
def test_a_signal_stops_it_cleanly_and_quickly(stack: Stack, topology: str, number: int) -> None:
    stack.start(topology)
    post_order(stack, "before")
    pids = children_of(stack.processes[topology].pid)
    exit_code, took_s = stack.terminate(topology, number)
    assert exit_code == 0, stack.log_path.read_text()
    assert took_s < under_load(8)
    await_gone(pids)
    assert "Traceback" not in stack.log_path.read_text()


def test_a_second_sigterm_changes_nothing(stack: Stack) -> None:
    stack.start("up")
    stack.processes["up"].terminate()
    exit_code, _ = stack.terminate("up")
    assert exit_code == 0
    assert "stopping" in stack.log_path.read_text()


@pytest.mark.parametrize("topology", ["up", "mesh"])
def test_a_port_that_is_taken_is_named(stack: Stack, tmp_path: Path, topology: str) -> None:
    stack.start("up")
    other = Stack(tmp_path / "other")
    environment = {**other.environment("up"), "SAGAGEN_HTTP_ADDR": stack.url.removeprefix("http://")}
    done = subprocess.run(
        other.command(topology), env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 1
    assert stack.url.rpartition(":")[2] in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_engine_on_the_same_data_is_refused(stack: Stack, tmp_path: Path) -> None:
    stack.start("up")
    other = Stack(tmp_path / "var")
    done = subprocess.run(
        other.command("up"),
        env=other.environment("up"),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "var") in done.stderr


def test_children_end_when_their_parent_is_killed(stack: Stack) -> None:
    stack.start("mesh")
    pids = children_of(stack.processes["mesh"].pid)
    assert len(pids) == 4
    # Nobody made a key for it, and a stranger is none of its processes.
    assert (stack.data_dir / "mesh-key").stat().st_mode & 0o777 == 0o600
    with grpc.insecure_channel(stack.reached_at("payment")) as channel:
        refund = cast(Any, channel).unary_unary("/shop.payment.v1.PaymentService/RefundPayment")
        with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
            refund(b"", timeout=LIMIT_S)
    stack.kill("mesh")
    await_gone(pids)


def test_children_that_may_not_open_yet_end_with_their_parent_too(stack: Stack) -> None:
    parent = stack.begin("mesh")
    pids = eventually(
        "4 children", lambda: children_of(parent.pid), lambda pids: len(pids) == 4, every_s=0.02
    )
    stack.kill("mesh")
    await_gone(pids)


def test_a_gateway_waits_for_services_that_do_not_start_and_ends_with_them(
    stack: Stack, tmp_path: Path
) -> None:
    stack.start("up")  # holds the databases that the services want
    other = Stack(tmp_path / "var")
    environment = {
        **other.environment("mesh"),
        "SAGAGEN_DATA_DIR": stack.environment("up")["SAGAGEN_DATA_DIR"],
    }
    done = subprocess.run(
        other.command("mesh"), env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 1
    assert "did not start" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_child_that_is_killed_is_started_again(stack: Stack) -> None:
    stack.start("mesh")
    for pid in children_of(stack.processes["mesh"].pid):
        if "payment" in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(pid, signal.SIGKILL)
    saga_id = place_order(stack, "again")
    assert await_terminal(stack, [saga_id]) == {saga_id: "COMPLETED"}
