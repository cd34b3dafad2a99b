#!/usr/bin/env python
"""What tests of a project cost: `python bench/testing_kit.py [--sagas 1000] [--tests 200]`.

Runs orders of the shop, of four steps each, in one test of `sagagen.testing`; then so many tests of one order. Prints
one line of JSON: CPU milliseconds a saga and a test, and bytes that memory grew by for each.
"""

import argparse
import gc
import json
import time
from pathlib import Path
from typing import Any

from generated.mesh import MESH
from sagagen.testing import SagaTest, saga_test, virtual_time

ORDER = {"customer_id": "ann", "items": [{"product_id": "prod_1", "quantity": 1, "price": 5.0}]}
WARM_UP = 30


def resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


async def place(t: SagaTest, number: int) -> None:
    t.databases["inventory"].execute("UPDATE stock SET available = 1000")
    answer = await t.post("/orders", ORDER, key=f"order-{number}")
    assert answer.saga.status == "COMPLETED"


@virtual_time
async def sagas(count: int) -> dict[str, float]:
    """In one test."""
    async with saga_test(MESH) as t:
        for number in range(WARM_UP):
            await place(t, -number)
        before, begun_s = resident_bytes(), time.process_time()
        for number in range(count):
            await place(t, number + 1)
        took_s = time.process_time() - begun_s
        return {
            "cpu_ms_a_saga": round(took_s / count * 1000, 2),
            "kib_a_saga": round((resident_bytes() - before) / count / 1024, 1),
        }


def tests(count: int) -> dict[str, Any]:
    """Of one saga each."""

    @virtual_time
    async def test() -> None:
        async with saga_test(MESH) as t:
            await place(t, 1)

    for _ in range(WARM_UP):
        test()
    before, begun_s = resident_bytes(), time.process_time()
    for _ in range(count):
        test()
    took_s = time.process_time() - begun_s
    return {
        "cpu_ms_a_test": round(took_s / count * 1000, 1),
        "kib_a_test": round((resident_bytes() - before) / count / 1024, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sagas", type=int, default=1000)
    parser.add_argument("--tests", type=int, default=200)
    options = parser.parse_args()
    print(json.dumps(sagas(options.sagas) | tests(options.tests)))


if __name__ == "__main__":
    main()
