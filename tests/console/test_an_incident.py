"""A payment service is down, and what an operator does about it: half by the console, half by the command line.

SAGAGEN_FAULT_ROUNDS=20 has as many sagas as an hour without payments leaves; by default there are a few.
"""

import html
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx
import pytest
from console_client import csrf_of, words_of
from project_copy import copy_project, edit, generate
from stack import Stack, place_order
from thorough import FAULT_ROUNDS
from waiting import LIMIT_S, eventually

SAGAS = 400 if FAULT_ROUNDS > 1 else 24
HASTY = {"deadline: 60s": "deadline: 10s", "give_up_after: 24h": "give_up_after: 5s"}
"""An hour passes in fifteen seconds: then the orders have turned back, and can't be undone without the service."""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Stack]:
    root = copy_project("shop", tmp_path / "shop")
    edit(root / "contracts" / "saga.yaml", HASTY)
    with closing(Stack(tmp_path / "var", root=generate(root))) as stack:
        yield stack


class Operator:
    """Somebody at a browser on the gateway's machine, and at a shell beside it."""

    def __init__(self, shop: Stack) -> None:
        self._shop = shop
        self._browser = httpx.Client(
            base_url=shop.admin_url, timeout=LIMIT_S, follow_redirects=True, verify=False
        )

    def close(self) -> None:
        self._browser.close()

    def look(self, path: str) -> str:
        """HTML of a page."""
        answer = self._browser.get(path)
        assert answer.status_code == 200, words_of(answer.text)
        return answer.text

    def send(self, page: str, path: str, **fields: str) -> str:
        """The form of a page. Returns the page that follows."""
        form = {"csrf": csrf_of(page), "by": "ann", **fields}
        headers = {"origin": self._shop.admin_url, "sec-fetch-site": "same-origin"}
        answer = self._browser.post(path, data=form, headers=headers)
        assert answer.status_code == 200, words_of(answer.text)
        return answer.text

    def type(self, *words: str, code: int = 0) -> str:
        """A command of sagagen, and what it prints."""
        admin = self._shop.admin_url.removeprefix("http://")
        done = subprocess.run(
            [sys.executable, "-m", "sagagen", "sagas", *words, "--admin", admin],
            env=self._shop.environment("gateway"),
            cwd=self._shop.root,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout


def link(page: str, words: str) -> str:
    """Where the first link with these words leads."""
    links = re.findall(r'<a\b[^>]*href="([^"]+)"[^>]*>(.*?)</a>', page, re.DOTALL)
    return next(html.unescape(href) for href, text in links if words in words_of(text))


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, words_of(page)
    return html.unescape(found[1]).strip()


@pytest.mark.slow
def test_payments_are_away_for_long_and_an_operator_ends_what_is_stuck(shop: Stack) -> None:
    shop.start("order", "inventory", "payment", "gateway")
    before = shop.http.get("/products/prod_1/stock").json()
    shop.kill("payment")
    with ThreadPoolExecutor(16) as clients:
        orders = [*clients.map(partial(place_order, shop), (f"order-{n}" for n in range(SAGAS)))]
    eventually("all to be stuck", lambda: len(_stuck(shop)), lambda count: count == SAGAS)
    with closing(Operator(shop)) as operator:
        now = operator.look("/console/")
        assert re.search(rf"stuck {SAGAS}\b", words_of(now), re.IGNORECASE)
        group = link(next(row for row in now.split("<tr") if "charge_payment" in words_of(row)), str(SAGAS))
        assert f"{SAGAS} sagas" in words_of(operator.look(group))

        dry = operator.look(link(operator.look(group), f"Retry {SAGAS}"))
        assert f"Dry run: retry {SAGAS} sagas" in words_of(dry)
        assert len(_stuck(shop)) == SAGAS
        shop.start("payment")
        half = hidden(dry, "ids").split()[: SAGAS // 2]
        done = operator.send(
            dry, group, act="retry", ids=" ".join(half), note="payments are back", **{"as": ""}
        )
        assert f"Retry: {len(half)} done" in words_of(done)
        eventually("half to be undone", lambda: len(_stuck(shop)), lambda count: count == SAGAS - len(half))
        assert f"{SAGAS - len(half)} sagas" in words_of(operator.look(group))

        filters = ["--status", "STUCK", "--failed-step", "charge_payment"]
        assert len(_stuck(shop)) == SAGAS - len(half)
        dry_run = operator.type("retry", *filters, "--dry-run")
        left = sorted(set(orders) - set(half))
        assert all(saga[:8] in dry_run for saga in left)
        operator.type("retry", *filters, "--note", "payments are back", "--yes")
        for saga in left[:2]:
            operator.type("watch", saga, code=1)  # undone
        eventually("all to be undone", lambda: _stuck(shop), lambda stuck: stuck == [])
        assert "No open saga is stuck" in words_of(operator.look("/console/"))
        audit = operator.type("audit", "-n", "1000")
        assert audit.count("retry") >= SAGAS
    assert shop.http.get("/products/prod_1/stock").json() == before
    assert not shop.rows("payment", "SELECT * FROM payments WHERE status = 'CHARGED'")


def _stuck(shop: Stack) -> list[str]:
    found = shop.admin.get("/sagas", params={"status": "STUCK", "limit": "1000"}).json()["sagas"]
    return [saga["id"] for saga in found]
