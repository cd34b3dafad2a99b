"""The views of the console: what they show, what they lead to, and that nobody's text is more than text there."""

import html
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from console_client import console, words_of

from generated.mesh import MESH
from generated.sagas.place_order_v1 import PLACE_ORDER_V1
from sagagen.runtime.admin.parsing import BadOrder
from sagagen.runtime.console.conditions import condition_as_json
from sagagen.runtime.console.views import VIEWS
from sagagen.runtime.console.views.payloads import payloads_of
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.saga.events import Done, DoneByHand, GaveUp, NextRequest
from sagagen.runtime.scope import Failure

EVIL = "\x1b[31m<script>alert('x')</script>\u202e"
"""What a service says, or a customer: it paints, runs and turns around wherever it is not taken as text."""


async def test_every_view_is_in_the_navigation_of_every_other(tmp_path: Path) -> None:
    listed = [view.path for view in VIEWS if view.is_listed]
    async with console(tmp_path, key="key-of-viv") as c:
        for path in listed:
            page = await c.page(path)
            for other in listed:
                assert f'href="/console{other}"' in page, path
            assert f'href="/console{path}" aria-current="page"' in page


async def test_now_counts_sagas_names_what_keeps_them_and_leads_to_each(tmp_path: Path) -> None:
    async with console(tmp_path, sagas=3, key="key-of-viv") as c:
        page = await c.page("/")
        words = words_of(page)
        assert re.search(r"stuck 3 oldest \S+", words), words
        assert "3 place_order ■ stuck confirm_order FORGOTTEN" in words
        assert "sagagen sagas stats --admin ops.example:8081" in words
        (group,) = set(re.findall(r'href="/console(/group[^"]*)"', page))
        assert words_of(await c.page(group.replace("&amp;", "&"))).count("saga-") >= 3


FILTERS = {
    "status=STUCK": True,
    "status=RUNNING": False,
    "status=ALL": True,
    "saga=place_order": True,
    "saga=other": False,
    "step=confirm_order": True,
    "step=create_order": False,
    "service=order": True,
    "service=payment": False,
    "failed_step=confirm_order": True,
    "error=FORGOTTEN": True,
    "error=OTHER": False,
    "text=unknown+HERE": True,
    "text=something+else": False,
    "older=1h": False,
    "older=0s": True,
    "ended=1h": False,
    "status=STUCK&service=order&text=": True,
}


async def test_there_is_a_url_for_each_filter_and_a_command_line_for_each_url(tmp_path: Path) -> None:
    async with console(tmp_path, key="key-of-viv") as c:
        for query, finds in FILTERS.items():
            words = words_of(await c.page(f"/sagas?{query}"))
            assert ("saga-0" in words) is finds, query
        words = words_of(await c.page("/sagas?status=STUCK,RUNNING&step=confirm_order&older=0s"))
        line = "sagagen sagas list --status STUCK --status RUNNING --step confirm_order --older-than 0s"
        assert f"{line} --admin ops.example:8081" in words
        for query, says in {
            "status=nonsense": "there are: RUNNING",
            "older=yesterday": "write 90s",
            "where=total+>+": "can't be read",
            "where=total+>+5": "no saga can be found by total",
            "waiting=nothing": 'waits for an event "nothing"',
        }.items():
            page = words_of(await c.page(f"/sagas?{query}", 400 if "total+>+5" not in query else 200))
            assert says in page or "total+>+5" in query, (query, page)


async def test_a_list_has_pages(tmp_path: Path) -> None:
    async with console(tmp_path, sagas=70, key="key-of-viv") as c:
        seen: list[str] = []
        path = "/sagas?status=STUCK"
        for count in (50, 20):
            page = await c.page(path)
            found = re.findall(r'class="id" href="/console/sagas/([^"]+)"', page)
            assert len(found) == count
            seen += found
            following = re.search(r'href="/console([^"]+)" rel="next"', page)
            path = following[1].replace("&amp;", "&") if following else ""
        assert (len(set(seen)), path) == (70, "")


async def test_one_saga_says_what_show_says_and_only_operators_get_buttons(tmp_path: Path) -> None:
    async with console(tmp_path, key="key-of-ann") as c:
        page = await c.page("/sagas/saga-0")
        words = words_of(page)
        assert "It is stuck at step confirm_order and waits for an operator." in words
        assert "FAILED_PRECONDITION: FORGOTTEN: unknown here" in words
        offered = (await c.client.get("/sagas/saga-0", headers={"x-api-key": "key-of-ann"})).json()[
            "commands"
        ]
        assert len(offered) == page.count('class="card pad offer"') > 1
        for line in (
            "sagagen sagas retry saga-0 --admin ops.example:8081",
            "sagagen sagas resolve saga-0 confirm_order --as refused --admin ops.example:8081",
        ):
            assert line in words
        assert "Ask a second operator: Resolve confirm_order as done" in words
        assert (await c.page("/sagas/saga-")) == page, "the beginning of an id is enough"
        await c.log_in("key-of-viv")
        seen = await c.page("/sagas/saga-0")
        assert "It is stuck at step confirm_order" in words_of(seen)
        assert re.findall(r'<form method="post" action="([^"]*)"', seen) == ["/console/logout"]


async def test_what_is_not_there_says_what_is(tmp_path: Path) -> None:
    async with console(tmp_path, sagas=2, key="key-of-viv") as c:
        assert "there is no saga nobody in this log" in words_of(await c.page("/sagas/nobody", 404))
        several = await c.page("/sagas/saga-", 409)
        assert 'href="/console/sagas/saga-1"' in several
        assert (await c.client.get("/console/find?id=saga-1")).headers["location"] == "/console/sagas/saga-1"
        assert "All sagas" in words_of(await c.page("/nonsense", 404))


async def test_texts_of_others_are_text_on_every_page(tmp_path: Path) -> None:
    async with console(tmp_path, says=EVIL, key="key-of-ann") as c:
        for path in (
            "/",
            "/sagas",
            "/sagas?text=script",
            "/sagas/saga-0",
            "/group?status=STUCK",
            f"/sagas?text={quote(EVIL)}",
        ):
            page = await c.page(path)
            assert "<script>alert" not in page, path
            shown = re.sub(r'value="[^"]*"', "", page)  # a field has what was typed in
            assert not {"\x1b", "\u202e"} & set(shown), path
        assert r"\x1b[31m<script>alert('x')</script>\u202e" in words_of(await c.page("/sagas/saga-0"))


async def test_what_the_contract_redacts_is_black_where_it_is_redacted(tmp_path: Path) -> None:
    async with console(tmp_path, key="key-of-ann") as c:
        page = await c.page("/sagas/saga-0/payloads")
        sections = re.findall(r'<section class="payload card">(.*?)</section>', page, re.DOTALL)
        charges = [each for each in sections if "shop.payment.v1.ChargePaymentRequest" in each]
        others = [each for each in sections if "shop.order.v1.CreateOrderRequest" in each]
        assert (len(charges), len(others)) == (1, 1)
        (customer,) = re.findall(r'"customer_id": "(\w+)"', html.unescape(others[0]))
        assert customer not in charges[0], "debug_redact is in the contract of payments alone"
        assert re.search(r'"customer_id": <span class="redacted"', html.unescape(charges[0]))
        assert '"order_id": "saga-0"' in html.unescape(charges[0])


async def test_payloads_are_for_operators_and_reading_them_leaves_a_line(tmp_path: Path) -> None:
    async with console(tmp_path, key="key-of-viv") as c:
        assert "payloads and orders are for operators" in words_of(
            await c.page("/sagas/saga-0/payloads", 403)
        )
        await c.log_in("key-of-ann")
        words = words_of(await c.page("/sagas/saga-0/payloads"))
        assert "input shop.checkout.v1.PlaceOrderRequest" in words
        assert '"product_id": "prod_1"' in words
        assert "request confirm_order shop.order.v1.ConfirmOrderRequest" in words
        done = [entry for entry in await c.audited() if entry[1] == "payloads"]
        assert done == [("viv", "payloads", "DENIED", "saga-0"), ("ann", "payloads", "DONE", "saga-0")]


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ('customer == "ann"', '["==", "customer", "ann"]'),
        ("total>=-5&&is_new != true", '["&&", [">=", "total", -5], ["!=", "is_new", true]]'),
        ("name == 'it is \"so\"'", '["==", "name", "it is \\"so\\""]'),
    ],
)
def test_a_condition_is_read(text: str, data: str) -> None:
    assert condition_as_json(text) == data


@pytest.mark.parametrize(
    "text", ["", "total", "total >", "total = 5", "5 < total", "a == 1 &&", "a == 1 || b == 2"]
)
def test_a_condition_that_can_not_be_read_says_what_to_write(text: str) -> None:
    with pytest.raises(BadOrder, match="write name, one of == != < <= > >="):
        condition_as_json(text)


def test_a_request_is_read_as_that_of_the_step_behind_whatever_ended_the_one_before() -> None:
    schema = Schema(MESH.descriptors.read_bytes())
    message = schema.message_type("shop.payment.v1.ChargePaymentRequest")
    charge = message(order_id="o", customer_id="cust_9").SerializeToString()
    failure = Failure("UNAVAILABLE", "UNAVAILABLE", "away", "reserve_stock")
    for row in (
        Done(at_ms=1, step="reserve_stock", attempt=1, response=b"", next=NextRequest(charge)),
        DoneByHand(at_ms=1, by="ann", note="", step="reserve_stock", response=b"", next=NextRequest(charge)),
        GaveUp(at_ms=1, by="", note="", failure=failure, next=NextRequest(charge)),
    ):
        (request,) = [each for each in payloads_of([row], PLACE_ORDER_V1, schema) if each.what == "request"]
        assert (request.of, request.message_type) == (
            "charge_payment",
            "shop.payment.v1.ChargePaymentRequest",
        )
        assert "cust_9" not in request.json
