"""Tests of a project: its real edge, engine, log, barrier and handlers in one process, on virtual time.

    async with saga_test(MESH) as t:
        t.fail("charge_payment", Declined("CARD_DECLINED"))
        await t.post("/orders", {"customer_id": "ann", "items": [...]})
        assert t.saga.status == "COMPENSATED"

What lives here: the face of tests (`saga_test`, `handler_test`), the loop on virtual time (`virtual_time`), databases
in memory (`databases`), faults (`faults`), and a mesh of processes (`world`). It may import all of the runtime, and
nothing of the generator; nothing of the runtime imports it.
"""

from sagagen.testing.callers import as_caller, as_nobody
from sagagen.testing.calls import CallMade
from sagagen.testing.databases import MemoryDatabases, TestDatabase
from sagagen.testing.faults import Moment
from sagagen.testing.handler_test import HandlerTest, handler_test
from sagagen.testing.mistakes import TestMistake
from sagagen.testing.runs import SagaRun
from sagagen.testing.saga_test import Answer, SagaTest, saga_test
from sagagen.testing.virtual_time import NotOnVirtualTime, virtual_time

__all__ = [
    "Answer",
    "CallMade",
    "HandlerTest",
    "MemoryDatabases",
    "Moment",
    "NotOnVirtualTime",
    "SagaRun",
    "SagaTest",
    "TestDatabase",
    "TestMistake",
    "as_caller",
    "as_nobody",
    "handler_test",
    "saga_test",
    "virtual_time",
]
