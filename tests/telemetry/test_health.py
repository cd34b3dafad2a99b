"""Who asks whether a process is well, by HTTP, by gRPC's health service or by reflection, is told the truth."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import pytest
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from stack import Stack

pytestmark = pytest.mark.slow
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


def eventually(is_so: Callable[[], bool], within_s: float = 20.0) -> None:
    give_up_at = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.1)


def answer(url: str) -> httpx.Response | None:
    try:
        return httpx.get(url, timeout=5)
    except httpx.TransportError:
        return None


def test_a_gateway_is_ready_once_every_service_was_reached_and_stays_so(stack: Stack) -> None:
    stack.start("order", "inventory")
    stack.begin("gateway")
    eventually(lambda: answer(f"{stack.url}/healthz") is not None)
    for url in (f"{stack.url}/readyz", f"{stack.admin_url}/readyz"):
        unready = httpx.get(url, timeout=5)
        assert unready.status_code == 503
        assert "payment" in unready.text
        assert "inventory" not in unready.text
    stack.start("payment")
    eventually(lambda: httpx.get(f"{stack.url}/readyz", timeout=5).status_code == 200)
    stack.kill("payment")  # one participant's outage is not everybody's
    assert httpx.get(f"{stack.url}/readyz", timeout=5).status_code == 200


def test_a_service_that_cannot_write_its_database_says_so_until_it_can(stack: Stack) -> None:
    stack.start("payment")
    ready = f"{stack.service_admin_url('payment')}/readyz"
    with grpc.insecure_channel(stack.reached_at("payment")) as channel:
        ask = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        request = HealthCheckRequest(service="shop.payment.v1.PaymentService")
        assert ask(request).status == SERVING
        with stack.holding_writes("payment"):
            eventually(lambda: httpx.get(ready, timeout=5).status_code == 503)
            assert "payment: " in httpx.get(ready, timeout=5).text
            eventually(lambda: ask(request).status == NOT_SERVING)
            assert httpx.get(ready.replace("readyz", "healthz")).status_code == 200  # it is alive
        eventually(lambda: httpx.get(ready, timeout=5).status_code == 200)
        eventually(lambda: ask(request).status == SERVING)


def test_reflection_serves_bufs_and_grpcs_own_clients(stack: Stack) -> None:
    stack.start("inventory")
    target = stack.reached_at("inventory")
    buf = Path(sys.executable).with_name("buf")
    url = f"http://{target}/shop.inventory.v1.InventoryService/GetStock"
    asked = subprocess.run(
        [
            buf,
            "curl",
            "--protocol",
            "grpc",
            "--http2-prior-knowledge",
            "--data",
            '{"product_id": "prod_1"}',
            url,
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    assert '"productId":"prod_1"' in asked.stdout.replace(" ", "")
    # In a process of its own: grpc and grpclib bring the same protos, and only one of them can register them.
    told = subprocess.run(
        [sys.executable, "-c", _GRPCS_OWN, target], capture_output=True, text=True, timeout=30, check=True
    )
    assert told.stdout.split() == ["True", "shop.inventory.v1"]


_GRPCS_OWN = """
import sys, grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
with grpc.insecure_channel(sys.argv[1]) as channel:
    database = ProtoReflectionDescriptorDatabase(channel)
    name = "shop.inventory.v1.InventoryService"
    print(name in database.get_services(), database.FindFileContainingSymbol(name).package)
"""
