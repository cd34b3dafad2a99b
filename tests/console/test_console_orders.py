"""Orders from the console: about one saga, about a group, with a second operator, and live."""

import asyncio
import json
from pathlib import Path

import pytest
from console_client import console, words_of

from sagagen.runtime.admin.gate import TokenGate
from sagagen.runtime.console import live
from sagagen.runtime.console.live import Streams

RESOLVE = {"step": "confirm_order", "as": "done", "note": "the bank says so"}


async def test_a_button_retries_a_saga_in_the_name_of_who_is_logged_in(tmp_path: Path) -> None:
    async with console(tmp_path, key="key-of-ann") as c:
        c.services.is_mended = True
        page = "/console/sagas/saga-0"
        sent = await c.send(f"{page}/retry", {"step": "confirm_order", "note": "it is back"}, page=page)
        assert (sent.status_code, sent.headers["location"]) == (303, f"{page}?did=retry")
        await c.engine.wait_until_idle()
        words = words_of((await c.client.get(sent.headers["location"])).text)
        assert "It is tried again." in words
        assert "completed" in words
        assert "retried confirm_order ann it is back" in words
        assert ("ann", "retry", "DONE", "saga-0") in await c.audited()
        again = await c.send(f"{page}/cancel", page=page)
        assert (again.status_code, "the saga is over" in words_of(again.text)) == (409, True)
        assert ("ann", "cancel", "REFUSED", "saga-0") in await c.audited()


async def test_no_form_gives_an_order_in_another_name_and_no_viewer_gives_one(tmp_path: Path) -> None:
    async with console(tmp_path, key="key-of-ann") as c:
        page = "/console/sagas/saga-0"
        forged = await c.send(f"{page}/retry", {"by": "bob"}, page=page)
        assert (forged.status_code, "you are ann" in words_of(forged.text)) == (403, True)
        await c.log_in("key-of-viv")
        refused = await c.send(f"{page}/retry", page=page)
        assert refused.status_code == 403
        for path in ("/console/group", "/console/orders/x/confirm", "/console/orders/x/withdraw"):
            assert (await c.send(path)).status_code == 403
        assert ("viv", "retry", "DENIED", "saga-0") in await c.audited()
        assert "DONE" not in {result for _, _, result, _ in await c.audited()}


async def test_on_loopback_a_name_is_asked_for_once(tmp_path: Path) -> None:
    async with console(tmp_path, sagas=2, gate=TokenGate("127.0.0.1"), origin="http://localhost:8081") as c:
        own = {"origin": "http://localhost:8081"}
        page = "/console/sagas/saga-0"
        assert "Your name" in words_of(await c.page("/sagas/saga-0"))
        nameless = await c.send(f"{page}/retry", page=page, headers=own)
        assert (nameless.status_code, "`by` is not empty" in words_of(nameless.text)) == (400, True)
        await c.send(f"{page}/retry", {"by": "Zoë", "step": "confirm_order"}, page=page, headers=own)
        later = await c.page("/sagas/saga-1")
        assert "Your name" not in words_of(later)
        await c.send("/console/sagas/saga-1/retry", page="/console/sagas/saga-1", headers=own)
        assert [by for by, _, _, saga in await c.audited() if saga == "saga-1"] == ["Zoë"]


async def test_four_eyes_wait_for_a_second_operator(tmp_path: Path) -> None:
    async with console(tmp_path, key="key-of-ann") as c:
        page = "/console/sagas/saga-0"
        sent = await c.send(f"{page}/resolve", {**RESOLVE, "response": "{}"}, page=page)
        assert sent.headers["location"] == f"{page}?asks=resolve"
        assert "The order waits for a second operator." in words_of(
            (await c.client.get(sent.headers["location"])).text
        )
        assert "Orders 1 waiting" in words_of(await c.page("/"))
        (order,) = await c.log.audit.pending()
        own = words_of(await c.page(f"/orders/{order.id}"))
        assert "somebody else has to confirm it" in own
        refused = await c.send(f"/console/orders/{order.id}/confirm")
        assert (refused.status_code, "a second person has to" in words_of(refused.text)) == (403, True)
        await c.log_in("key-of-bob")
        assert f"sagagen sagas confirm {order.id}" in words_of(await c.page(f"/orders/{order.id}"))
        done = await c.send(f"/console/orders/{order.id}/confirm", page=f"/console/orders/{order.id}")
        assert (done.status_code, done.headers["location"]) == (303, page)
        await c.engine.wait_until_idle()
        assert "ann, confirmed by bob" in words_of(await c.page("/sagas/saga-0"))
        assert await c.log.audit.pending() == []


async def test_an_order_that_waits_can_be_withdrawn(tmp_path: Path) -> None:
    async with console(tmp_path, key="key-of-ann") as c:
        await c.send("/console/sagas/saga-0/resolve", RESOLVE, page="/console/sagas/saga-0")
        (order,) = await c.log.audit.pending()
        gone = await c.send(f"/console/orders/{order.id}/withdraw", page=f"/console/orders/{order.id}")
        assert gone.headers["location"] == "/console/orders?did=withdrawn"
        assert "None waits." in words_of(await c.page("/orders"))


async def test_a_group_is_listed_in_a_dry_run_and_then_given_the_order(tmp_path: Path) -> None:
    async with console(tmp_path, sagas=12, key="key-of-ann") as c:
        group = "/group?saga=place_order&status=STUCK&failed_step=confirm_order&error=FORGOTTEN"
        words = words_of(await c.page(group))
        assert "Retry 12…" in words
        assert "Resolve as refused 12…" in words
        dry = await c.page(f"{group}&act=retry")
        assert "Dry run: retry 12 sagas" in words_of(dry)
        assert "sagagen sagas retry --saga place_order --status STUCK" in words_of(dry)
        assert "--dry-run --admin" in words_of(dry)
        assert {did for _, did, _, _ in await c.audited()} == set(), "a dry run does nothing"
        ids = " ".join(f"saga-{n}" for n in range(11)) + " saga-unknown"
        c.services.is_mended = True
        fields = {"act": "retry", "as": "", "ids": ids, "note": "payment is back"}
        done = await c.send(f"/console{group}", fields, page=f"/console{group}&act=retry")
        assert "Retry: 11 done, 1 refused" in words_of(done.text)
        await c.engine.wait_until_idle()
        audited = await c.audited()
        assert sum(entry[:3] == ("ann", "retry", "DONE") for entry in audited) == 11
        assert ("ann", "retry", "REFUSED", "saga-unknown") in audited
        assert " 1 saga saga place_order " in words_of(await c.page(group))
        one = await c.send(
            "/console/sagas/saga-11/retry", {"step": "confirm_order"}, page="/console/sagas/saga-11"
        )
        assert one.status_code == 303
        await c.engine.wait_until_idle()
        assert "None is left." in words_of(await c.page(group))


async def test_orders_for_a_group_vouch_for_each_sagas_own_step_and_wait_for_a_second_person(
    tmp_path: Path,
) -> None:
    async with console(tmp_path, sagas=2, key="key-of-ann") as c:
        fields = {
            "act": "resolve",
            "as": "refused",
            "ids": "saga-0 saga-1",
            "note": "the bank has none of them",
        }
        done = await c.send("/console/group?status=STUCK", fields, page="/console/group?status=STUCK")
        assert "Resolve as refused: 2 waits for a second person" in words_of(done.text)
        pending = await c.log.audit.pending()
        assert sorted((order.saga_id, json.loads(order.members)["step"]) for order in pending) == [
            ("saga-0", "confirm_order"),
            ("saga-1", "confirm_order"),
        ]


async def test_a_group_is_never_everything(tmp_path: Path) -> None:
    async with console(tmp_path, key="key-of-ann") as c:
        assert "a group is what filters find" in words_of(await c.page("/group", 400))
        for ids in ("", " ".join(f"s{n}" for n in range(501))):
            fields = {"act": "retry", "ids": ids}
            assert (await c.send("/console/group?status=STUCK", fields)).status_code == 400


async def test_an_open_page_gets_what_has_changed_and_nothing_else() -> None:
    shown, asked_twice = "one", asyncio.Event()
    asked: list[str] = []

    async def made() -> str:
        asked.append(shown)
        if len(asked) > 2:
            asked_twice.set()
        return shown

    streams, closing = Streams(), asyncio.get_running_loop().create_future()
    events = streams.of(made, closing, ())
    assert [await anext(events), await anext(events)] == ["retry: 2000\n\n", 'event: page\ndata: "one"\n\n']
    following = asyncio.ensure_future(anext(events))
    await asked_twice.wait()
    assert not following.done(), "nothing has changed"
    shown = "two"
    assert await following == 'event: page\ndata: "two"\n\n'
    closing.set_result(None)
    assert [event async for event in events] == [], "the server stops"


async def test_only_so_many_pages_are_live_however_many_begin_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "MAX_STREAMS", 1)
    streams = Streams()

    async def made() -> str:
        return "page"

    assert streams.has_room
    first, second = streams.of(made, None, ()), streams.of(made, None, ())
    assert await anext(first) == "retry: 2000\n\n"
    assert [event async for event in second] == ["event: over\ndata: \n\n"]
    await first.aclose()
    assert streams.has_room
