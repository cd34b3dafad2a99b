"""A gateway's half of sagas on Restate, while no adapter has begun any of them: without a server."""

import asyncio
import json

import pytest
from small_mesh import acceptance, saga, step
from waiting import eventually_async

from sagagen.runtime.engine.port import Delivery, NotDelivered, Refusal
from sagagen.runtime.restate.client import Answer, RestateClient
from sagagen.runtime.restate.looking import Looking
from sagagen.runtime.restate.replies import Told
from sagagen.runtime.restate.sagas import ASKS_S, ASKS_UNHEARD, RestateSagas

PLACE = saga(step("one"))


class Ingress(RestateClient):
    """Restate with workflows that nobody has begun."""

    def __init__(self) -> None:
        super().__init__(["http://127.0.0.1:1"])
        self._accepted = set[str]()
        self.heads = 0

    async def ask(self, method: str, path: str, *_: object, **__: object) -> Answer:
        if path.endswith("/head"):
            self.heads += 1
            return Answer(200, b"")
        if path.endswith("/order"):
            await asyncio.Event().wait()
        status = "PreviouslyAccepted" if path in self._accepted else "Accepted"
        self._accepted.add(path)
        return Answer(202, json.dumps({"status": status}).encode())


def gateway(ingress: Ingress) -> RestateSagas:
    return RestateSagas("shop", [PLACE], ingress, Looking(ingress, "shop", [PLACE.name]), max_running=9)


async def test_the_second_gateway_takes_the_saga_of_the_first_for_nobodys_and_keeps_no_permit() -> None:
    ingress = Ingress()
    one, other = gateway(ingress), gateway(ingress)
    first = await one.accept(acceptance(PLACE))
    assert first.is_new
    elsewhere = await other.accept(acceptance(PLACE))
    assert (elsewhere.is_new, elsewhere.fingerprint) == (False, None), "its payload is not known here"
    assert other.room() == 9
    repeated = await one.accept(acceptance(PLACE))
    assert (repeated.is_new, repeated.fingerprint) == (False, first.fingerprint)
    assert one.room() == 8


async def test_an_event_that_nobody_takes_is_answered_before_the_server_stops() -> None:
    stopping = gateway(Ingress())
    started = await stopping.accept(acceptance(PLACE))
    delivery = Delivery(PLACE.name, started.saga_id, "answered", "key-2", b"f", b"", "ann")
    sending = asyncio.create_task(stopping.deliver(delivery))
    await asyncio.sleep(0)
    stopping.stop_accepting()
    await eventually_async("an answer", sending.done)
    with pytest.raises(NotDelivered) as refused:
        sending.result()
    assert refused.value.refusal is Refusal.NOT_READY


async def test_a_gateway_that_adapters_tell_of_other_sagas_asks_about_its_own_later() -> None:
    ingress = Ingress()
    telling = gateway(ingress)
    started = await telling.accept(acceptance(PLACE))
    waiting = asyncio.create_task(telling.wait(started.saga_id, 60.0))

    def tells_and_looks() -> int:
        telling.hear(Told("another", None, is_resting=False))
        return ingress.heads

    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    await eventually_async("a question all the same", tells_and_looks)
    assert loop.time() - begun_s >= sum(ASKS_S[:ASKS_UNHEARD])
    waiting.cancel()
