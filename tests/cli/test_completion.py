"""`sagagen completion`: what a real bash offers when the tab key is pressed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")


def bash(script: str, cwd: Path) -> str:
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def offered(line: str, cwd: Path) -> list[str]:
    """What readline would offer: bash's own completion function is called as the tab key calls it."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    script = f"""
        eval "$(sagagen completion bash)"
        function_name=$(complete -p sagagen | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}
        COMP_LINE='{line}'; COMP_POINT={len(line)}
        $function_name sagagen
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    return [word for word in bash(script, cwd).splitlines() if word]


@needs_bash
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sagagen exp", ["explain"]),
        ("sagagen bump ", ["place_order"]),
        ("sagagen explain SG01", [f"SG{number:03}" for number in range(10, 20)]),
        ("sagagen add st", ["step", "store"]),
        ("sagagen add store p", ["payment"]),
        ("sagagen add store payment ", ["postgres"]),
        ("sagagen sagas list --saga ", ["place_order"]),
        (
            "sagagen sagas list --saga place_order --step c",
            ["create_order", "charge_payment", "confirm_order"],
        ),
        ("sagagen sagas list --service p", ["payment"]),
        ("sagagen up --only ", ["gateway", "engine", "order", "inventory", "payment"]),
        ("sagagen add rpc inv", ["inventory"]),
        ("sagagen add step place_order ship --after c", ["create_order", "charge_payment", "confirm_order"]),
        (
            "sagagen add step place_order ship --call payment/",
            ["payment/ChargePayment", "payment/RefundPayment"],
        ),
        ("sagagen add saga again --trigger shop.ch", ["shop.checkout.v1.CheckoutService/PlaceOrder"]),
        ("sagagen add step place_order ship --kind ", ["compensatable", "pivot", "retriable"]),
    ],
)
def test_bash_offers_what_the_project_has(line: str, expected: list[str]) -> None:
    assert offered(line, ROOT) == expected


@needs_bash
@pytest.mark.parametrize(
    "line", ["sagagen bump ", "sagagen add step a b --call ", "sagagen add saga s --trigger "]
)
def test_where_no_project_is_nothing_is_offered(line: str, tmp_path: Path) -> None:
    assert offered(line, tmp_path) == []


@needs_bash
def test_a_broken_project_offers_what_can_be_read(tmp_path: Path) -> None:
    contracts = tmp_path / "contracts"
    contracts.mkdir()
    (contracts / "saga.yaml").write_bytes(b"\xff\xfe: [\nsagas:\n  one: {\n  two:\n    steps: ]\n")
    (contracts / "broken.proto").write_bytes(b"service X {\n  rpc \xff\xff\n")
    assert offered("sagagen bump ", tmp_path) == ["one", "two"]
    assert offered("sagagen add saga s --trigger ", tmp_path) == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_of_theirs(shell: str) -> None:
    done = subprocess.run(
        [str(BIN / "sagagen"), "completion", shell], capture_output=True, text=True, check=True
    )
    assert "_SAGAGEN_COMPLETE" in done.stdout
    assert shell in done.stdout
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=done.stdout, text=True, check=True)


def test_nothing_heavy_is_loaded_for_a_press_of_the_tab_key() -> None:
    script = """
import os, sys
words = "sagagen add step place_order x --call "
os.environ.update(_SAGAGEN_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD="6")
from sagagen.cli import main
try:
    main(prog_name="sagagen")
except SystemExit:
    pass
heavy = {"ruamel", "pydantic", "google", "libcst", "protovalidate", "jinja2", "asyncio", "rich", "lark"}
print("heavy:", sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "plain,order/CreateOrder" in done.stdout
    assert "heavy: []" in done.stdout
