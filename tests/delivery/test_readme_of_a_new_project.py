"""What the README of a new delivery project says is typed into a shell, and what `sagagen up` says may be tried."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from delivery_project import SERVICES
from postgres_server import missing
from postgres_stack import PostgresStack
from stack import Stack
from waiting import eventually

from sagagen.scaffold.project import Template, files_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not all(map(shutil.which, ("bash", "curl", "cut"))), reason="needs bash and curl"),
]
ADDRESS = "localhost:8080"
SAGA_ID = re.compile(r'"id": "([0-9a-f-]{36})"')
ORDER_ID = re.compile(r'"order_id":"([0-9a-f-]{36})"')


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def stack(
    request: pytest.FixtureRequest, generated_project: Callable[[str], Path], tmp_path: Path
) -> Iterator[Stack]:
    if request.param == "PostgreSQL" and missing():
        pytest.skip(missing())
    kind = PostgresStack if request.param == "PostgreSQL" else Stack
    with closing(kind(tmp_path / "var", root=generated_project("delivery"), services=SERVICES)) as stack:
        stack.start("up")
        yield stack


def typed(text: str) -> str:
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_printed_can_be_typed(stack: Stack) -> None:
    readme = files_of(Template.DELIVERY, "delivery")["README.md"].decode()
    blocks = [block for block in re.findall(r"```\n(.*?)```", readme, re.DOTALL) if "curl" in block]
    said = [typed(block.replace(ADDRESS, stack.url.removeprefix("http://"))) for block in blocks]
    tried = re.findall(r"^  (curl .*?)\n\n", stack.log_path.read_text(), re.MULTILINE | re.DOTALL)
    order, *events, look = [typed(command.replace("curl", "curl -sSf", 1)) for command in tried]
    assert len(events) == 2, "what the saga waits for"
    (brought,) = ORDER_ID.findall(order)
    assert SAGA_ID.findall(look) == [brought]

    def statuses() -> list[str]:
        orders = [SAGA_ID.findall(each)[-1] for each in said]
        return [stack.admin.get(f"/sagas/{order}").json()["status"] for order in orders]

    eventually(
        "the orders to end", statuses, lambda found: found == ["COMPLETED", "COMPENSATED", "COMPENSATED"]
    )
    eventually(
        "the order that is tried to be brought",
        lambda: stack.admin.get(f"/sagas/{brought}").json()["status"],
        lambda status: status == "COMPLETED",
    )
