"""Who asks whether a process is well, by HTTP, by gRPC's health service or by reflection, is told the truth."""

import subprocess
import sys
from pathlib import Path

import grpc
import httpx
import pytest
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from stack import Stack
from waiting import LIMIT_S, eventually

pytestmark = pytest.mark.slow
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


def await_ready(client: httpx.Client, status: int) -> str:
    """Wait until /readyz has this status. Returns what else it says."""
    return eventually(
        f"readiness to be {status}",
        lambda: client.get("/readyz"),
        lambda answer: answer.status_code == status,
        despite=(httpx.TransportError,),
    ).text


def test_a_gateway_is_ready_once_every_service_was_reached_and_stays_so(stack: Stack) -> None:
    stack.start("order", "inventory")
    stack.begin("gateway")
    for client in (stack.http, stack.admin):
        said = await_ready(client, 503)
        assert "payment" in said
        assert "inventory" not in said
    stack.start("payment")
    await_ready(stack.http, 200)
    stack.kill("payment")  # one participant's outage is not everybody's
    assert stack.http.get("/readyz").status_code == 200


def test_a_service_that_cannot_write_its_database_says_so_until_it_can(stack: Stack) -> None:
    stack.start("payment")
    admin = stack.service_admin("payment")
    with grpc.insecure_channel(stack.reached_at("payment")) as channel:
        ask = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        request = HealthCheckRequest(service="shop.payment.v1.PaymentService")
        assert ask(request).status == SERVING
        with stack.holding_writes("payment"):
            assert "payment: " in await_ready(admin, 503)
            eventually("NOT_SERVING", lambda: ask(request).status, lambda status: status == NOT_SERVING)
            assert admin.get("/healthz").status_code == 200  # it is alive
        await_ready(admin, 200)
        eventually("SERVING", lambda: ask(request).status, lambda status: status == SERVING)


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
        timeout=LIMIT_S,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    assert '"productId":"prod_1"' in asked.stdout.replace(" ", "")
    # In a process of its own: grpc and grpclib bring the same protos, and only one of them can register them.
    told = subprocess.run(
        [sys.executable, "-c", _GRPCS_OWN, target],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
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
