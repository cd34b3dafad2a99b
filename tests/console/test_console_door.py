"""Who gets into the console, and whose forms it takes."""

import asyncio
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from console_client import ORIGIN, Console, console, csrf_of, words_of
from waiting import eventually_async

from sagagen.runtime.access.identity import Headers, Identity, Unauthenticated
from sagagen.runtime.admin.gate import TokenGate
from sagagen.runtime.console.sessions import ATTEMPTS, IDLE_S, LASTS_S, MAX_SESSIONS, LogInAttempts, Sessions
from sagagen.runtime.console.site import POLICY
from sagagen.runtime.secret_file import Secret

LOCAL = "http://localhost:8081"
OURS = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}


async def test_nobody_sees_a_page_before_logging_in_and_goes_where_they_wanted_after(tmp_path: Path) -> None:
    async with console(tmp_path) as c:
        asked = await c.client.get("/console/sagas?status=STUCK")
        wanted = "/console/sagas?status=STUCK"
        assert (asked.status_code, asked.headers["location"]) == (
            303,
            f"/console/login?next={quote(wanted, safe='')}",
        )
        assert await c.audited() == [], "nothing was shown to the gate"
        page = await c.client.get(asked.headers["location"])
        done = await c.send(
            "/console/login", {"secret": "key-of-viv", "next": wanted}, page=str(page.request.url)
        )
        assert (done.status_code, done.headers["location"]) == (303, wanted)
        assert "saga-0" in await c.page("/sagas")
        for elsewhere in (
            "https://evil.example/console/",
            "//evil.example/console/",
            "/sagas",
            "/console/\\evil",
        ):
            await c.client.get("/console/login")
            again = await c.send(
                "/console/login", {"secret": "key-of-viv", "next": elsewhere}, page="/console/login"
            )
            assert again.headers["location"] == "/console/", elsewhere


async def test_the_cookie_is_a_random_id_that_scripts_and_other_sites_can_not_use(tmp_path: Path) -> None:
    async with console(tmp_path) as c:
        before = (await c.client.get("/console/login")).headers["set-cookie"]
        done = await c.log_in("key-of-ann")
        cookie = done.headers["set-cookie"]
        assert re.fullmatch(
            r"sagagen_console_8081=[\w-]{43}; HttpOnly; Path=/console; SameSite=strict", cookie
        )
        assert cookie != before, "the id of before the log-in opens nothing"
        assert "key-of-ann" not in cookie
    async with console(tmp_path / "tls", origin="https://ops.example") as c:
        assert "; Secure" in (await c.client.get("/console/login")).headers["set-cookie"]


async def test_the_gate_stays_the_law_at_every_click(tmp_path: Path) -> None:
    async with console(tmp_path, key="key-of-viv") as c:
        assert "viv" in words_of(await c.page("/"))
        del c.keyring.keys["key-of-viv"]
        assert "no key that is known here" in words_of(await c.page("/", 401))
        assert (await c.client.get("/console/")).status_code == 303, "the session is over"


async def test_logging_out_ends_the_session_on_this_side(tmp_path: Path) -> None:
    async with console(tmp_path, key="key-of-ann") as c:
        cookie = dict(c.client.cookies)
        assert (await c.send("/console/logout")).status_code == 303
        c.client.cookies.update(cookie)
        assert (await c.client.get("/console/sagas")).status_code == 303


async def test_log_ins_that_fail_are_audited_and_limited(tmp_path: Path) -> None:
    async with console(tmp_path) as c:
        assert "no operator" in words_of((await c.log_in("key-of-cust")).text)
        for _ in range(4):
            assert (await c.log_in("made-up")).status_code == 401
        refused = await c.log_in("key-of-ann")
        assert (refused.status_code, int(refused.headers["retry-after"]) > 50) == (429, True)
        assert [(did, result) for _, did, result, _ in await c.audited()] == [
            ("log in", "DENIED"),
            *[("log in", "UNKNOWN")] * 4,
            ("log in", "DENIED"),
        ]


async def test_the_token_of_the_environment_opens_it_too_and_asks_for_a_name(tmp_path: Path) -> None:
    gate = TokenGate("0.0.0.0", Secret.of("token", b"the-token"))
    async with console(tmp_path, gate=gate) as c:
        assert "Your name" in (await c.client.get("/console/login")).text
        assert (await c.log_in("other")).status_code == 401
        assert (await c.log_in("the-token", name="Zoë")).status_code == 303
        assert "Zoë" in words_of(await c.page("/"))


async def test_on_loopback_nobody_logs_in_and_other_hosts_are_no_loopback(tmp_path: Path) -> None:
    async with console(tmp_path, gate=TokenGate("127.0.0.1"), origin=LOCAL) as c:
        words = words_of(await c.page("/sagas/saga-0"))
        assert "sagagen sagas retry saga-0 " in words
        assert "--admin" not in words, "the command line looks there by itself"
        rebound = await c.client.get("/console/", headers={"host": "evil.example:8081"})
        assert rebound.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "http://localhost:9999"},
        {"content-type": "text/plain"},
        {"content-type": "application/json"},
    ],
)
async def test_a_form_of_another_page_changes_nothing(headers: dict[str, str], tmp_path: Path) -> None:
    async with console(tmp_path, gate=TokenGate("127.0.0.1"), origin=LOCAL) as c:
        own = {"origin": LOCAL, "sec-fetch-site": "same-origin"}
        refused = await c.send("/console/sagas/saga-0/cancel", {"by": "eve"}, headers=own | headers)
        assert refused.status_code in (400, 403), headers
        await _nothing_was_done(c)


async def test_a_form_without_its_token_or_its_browser_changes_nothing(tmp_path: Path) -> None:
    async with console(tmp_path, gate=TokenGate("127.0.0.1"), origin=LOCAL) as c:
        own = {"origin": LOCAL, "sec-fetch-site": "same-origin"}
        token = csrf_of(await c.page("/sagas/saga-0"))
        path = "/console/sagas/saga-0/cancel"
        for given in ({"by": "eve"}, {"by": "eve", "csrf": "x" * 64}, {"by": "eve", "csrf": "é"}):
            assert (await c.client.post(path, data=given, headers=own)).status_code == 403
        nobody = await c.client.post(path, data={"by": "eve", "csrf": token})
        assert (nobody.status_code, "programs send orders as JSON" in nobody.text) == (403, True)
        c.client.cookies.clear()
        assert (await c.client.post(path, data={"by": "eve", "csrf": token}, headers=own)).status_code == 403
        await _nothing_was_done(c)


async def _nothing_was_done(c: Console) -> None:
    shown = (await c.client.get("/sagas/saga-0")).json()
    assert (shown["status"], shown["operators"]) == ("STUCK", [])


async def test_pages_may_load_and_do_nothing_but_our_own(tmp_path: Path) -> None:
    async with console(tmp_path, key="key-of-ann") as c:
        for path in ("/", "/sagas/saga-0", "/login", "/nonsense", "/sagas/saga-0/payloads"):
            response = await c.client.get(f"/console{path}")
            assert response.headers["content-security-policy"] == POLICY
            assert response.headers["cache-control"] == "no-store"
            assert not re.search(
                r"\sstyle=|\son\w+=|javascript:|<script(?! src=\"/console/static/)", response.text
            )
            loaded = re.findall(r'(?:src|href)="([^"#]*)"', response.text)
            assert all(each.startswith("/console") for each in loaded), loaded
        for name in ("console.css", "console.js", "mark.svg"):
            static = await c.client.get(f"/console/static/{name}")
            assert (static.status_code, "immutable" in static.headers["cache-control"]) == (200, True)
            assert "http://" not in static.text.replace("http://www.w3.org/2000/svg", "")
        assert (await c.client.get("/console/static/..%2Fsite.py")).status_code == 404


def test_a_session_is_over_in_time_and_there_are_not_too_many() -> None:
    now_s = 0.0
    sessions = Sessions(lambda: now_s)
    first = sessions.begin({"x-api-key": "a"})
    for _ in range(int(LASTS_S / IDLE_S)):
        now_s += IDLE_S - 60
        assert sessions.find(first)
    now_s = LASTS_S + 1
    assert sessions.find(first) is None, "however much it was used"
    second = sessions.begin({"x-api-key": "b"})
    now_s += IDLE_S + 1
    assert sessions.find(second) is None
    ids = [sessions.begin({"x-api-key": "c"}) for _ in range(MAX_SESSIONS + 1)]
    assert (len(sessions), sessions.find(ids[0]), bool(sessions.find(ids[-1]))) == (MAX_SESSIONS, None, True)
    assert "x-api-key" not in repr(sessions.find(ids[-1]))


async def test_log_ins_at_once_are_limited_as_one_after_the_other_are(tmp_path: Path) -> None:
    async with console(tmp_path) as c:
        all_asked = asyncio.Event()

        async def slowly(headers: Headers) -> Identity:
            await all_asked.wait()
            raise Unauthenticated("no key that is known here", c.keyring.challenges())

        c.keyring.identity = slowly
        token = csrf_of((await c.client.get("/console/login")).text)
        asking = [
            asyncio.create_task(
                c.client.post(
                    "/console/login", data={"csrf": token, "secret": "guess", "name": ""}, headers=OURS
                )
            )
            for _ in range(30)
        ]
        await eventually_async(
            "all but the first to be refused",
            lambda: sum(each.done() for each in asking),
            lambda count: count == 30 - ATTEMPTS,
        )
        all_asked.set()
        codes = [(await each).status_code for each in asking]
        assert (codes.count(401), codes.count(429)) == (ATTEMPTS, 30 - ATTEMPTS)


def test_a_log_in_that_succeeds_does_not_count() -> None:
    attempts = LogInAttempts(lambda: 0.0)
    for _ in range(3 * ATTEMPTS):
        attempts.begin("10.0.0.1")
        attempts.succeeded("10.0.0.1")
    assert attempts.wait_s("10.0.0.1") == 0.0


def test_log_ins_may_be_tried_again_after_a_minute() -> None:
    now_s = 0.0
    attempts = LogInAttempts(lambda: now_s)
    for _ in range(5):
        assert attempts.wait_s("10.0.0.1") == 0.0
        attempts.begin("10.0.0.1")
    assert (attempts.wait_s("10.0.0.1"), attempts.wait_s("10.0.0.2")) == (60.0, 0.0)
    now_s = 60.5
    assert attempts.wait_s("10.0.0.1") == 0.0
