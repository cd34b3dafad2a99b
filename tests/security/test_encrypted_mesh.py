"""The shop with encryption on by environment alone: orders, kill -9, rotation, and customers who are forgotten."""

import base64
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest
from encrypted_log import files_with
from stack import Stack, place_order, post_order
from thorough import chosen
from waiting import eventually

CUSTOMER = b"cust_123"
K1, K2 = (f"{name}:{base64.b64encode(os.urandom(32)).decode()}\n" for name in ("k1", "k2"))


class EncryptedStack(Stack):
    @property
    def keys(self) -> Path:
        return self.data_dir.parent / "keys"

    def environment(self, name: str) -> dict[str, str]:
        return super().environment(name) | {"SAGAGEN_ENCRYPTION_KEYS_FILE": str(self.keys)}

    def command_line(self, *arguments: str) -> tuple[int, str]:
        """What `sagagen` says in the environment of this stack, and its exit code."""
        command = [sys.executable, "-m", "sagagen", *arguments]
        done = subprocess.run(
            command, env=self.environment(""), cwd=self.root, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(params=chosen(["mesh", "up"], first=1))
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[tuple[EncryptedStack, str]]:
    with closing(EncryptedStack(tmp_path / "var")) as made:
        made.keys.write_text(K1)
        yield made, request.param


def all_over(stack: Stack) -> None:
    eventually(
        "all sagas to be over", lambda: stack.admin.get("/sagas").json()["sagas"], lambda open_: not open_
    )


@pytest.mark.slow
def test_a_shop_is_encrypted_killed_rotated_and_forgets_a_customer(stack: tuple[EncryptedStack, str]) -> None:
    shop, mode = stack
    shop.start(mode)
    place_order(shop, "one")
    with shop.holding_writes("payment"):
        post_order(shop, "two")
        assert files_with(shop.data_dir, CUSTOMER) <= {
            "order.db",
            "order.db-wal",
            "payment.db",
            "payment.db-wal",
            "processes.log",
        }, "tables of handlers are theirs"
        shop.kill(mode)
    # Recovery reads what was encrypted, now with another first key.
    shop.keys.write_text(K2 + K1)
    shop.start(mode)
    all_over(shop)
    assert post_order(shop, "two").status_code == 201
    code, said = shop.command_line("keys", "rotate")
    assert (code, said.splitlines()[-1].split(" may go")[0]) == (0, "k1"), said
    shop.terminate(mode)
    shop.keys.write_text(K2)
    shop.start(mode)
    assert post_order(shop, "one").status_code == 201

    code, said = shop.command_line("forget", "cust_123")
    assert (code, said) == (0, "erased: the data of 2 sagas. A backup of before has them still\n")
    for _ in range(2):
        again = post_order(shop, "one")
        assert (again.status_code, again.json()["reason"]) == (410, "DATA_ERASED")
        assert post_order(shop, "one", 51.0).status_code == 422
        shop.terminate(mode)
        shop.start(mode)
    assert len(shop.rows("order", "SELECT * FROM orders")) == 2, "nothing is doubled"
    place_order(shop, "three")
    all_over(shop)
    code, said = shop.command_line("sagas", "audit")
    assert (code, "forget" in said, "cust_123" in said) == (0, True, False), said
