"""Attacks on the calls within a mesh, against a service that runs, over gRPC: what is not signed does nothing."""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from grpclib.client import Channel
from grpclib.const import Status as Code
from grpclib.exceptions import GRPCError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest
from grpclib.reflection.v1 import reflection_grpc, reflection_pb2
from small_mesh import LATER_MS
from structlog.testing import capture_logs
from waiting import LIMIT_S

from generated.mesh import MESH
from generated.pb.shop.inventory.v1 import GetStockRequest
from generated.pb.shop.payment.v1 import ChargePaymentRequest, RefundPaymentRequest
from generated.services.inventory import GET_STOCK
from generated.services.inventory import SERVICE as INVENTORY
from generated.services.payment import CHARGE_PAYMENT, REFUND_PAYMENT
from generated.services.payment import SERVICE as PAYMENT
from sagagen.runtime import plain
from sagagen.runtime.health import service_check
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Direction, Service, StepKind
from sagagen.runtime.process.project import Project
from sagagen.runtime.rpc import metadata as entries
from sagagen.runtime.rpc.claim import CLAIM_PATH
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.metadata import IDEMPOTENCY_KEY, MAC, SagaCall
from sagagen.runtime.rpc.refusals import MacRefusal
from sagagen.runtime.rpc.transport import Reply, Transport
from sagagen.runtime.secret_file import Secret
from sagagen.runtime.service.host import ServiceHost
from sagagen.runtime.transports.grpc.client import GrpcTransport
from sagagen.runtime.transports.grpc.server import serve_grpc
from sagagen.runtime.trust.mac import SIGNED, MeshKeys
from sagagen.runtime.trust.signed import MARGIN_S, SignedTransport, nobody_believes
from sagagen.runtime.trust.verifying import CallVerifier

KEY, OTHER_KEY = "the key of this mesh, 32 bytes long", "another key of thirty-two bytes..."
Call = tuple[str, bytes, dict[str, str]]
CHARGE = bytes(ChargePaymentRequest(order_id="order-1", customer_id="ann", amount_minor=700))
REFUND = bytes(RefundPaymentRequest(order_id="order-1"))


def keys(*values: str) -> MeshKeys:
    return MeshKeys(Secret.of("SAGAGEN_MESH_KEY", *(value.encode() for value in values)))


def saga_call(direction: Direction = Direction.ACTION) -> SagaCall:
    return SagaCall(
        saga_id="order-1",
        run="0123456789abcdef",
        started_ms=time.time_ns() // 1_000_000,
        step="charge_payment",
        kind=StepKind.COMPENSATABLE,
        direction=direction,
        attempt=1,
        not_after_ms=LATER_MS,
        caller="ann",
    )


class Recorder:
    """What an attacker in between has seen."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.seen: list[Call] = []

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        self.seen.append((path, request, dict(metadata)))
        return await self._inner.call(path, request, metadata=metadata, timeout_s=timeout_s)


@dataclass
class Reached:
    """A service with the mesh's key, the way of a stranger to it, and the gateway's own."""

    host: ServiceHost
    port: int
    stranger: GrpcTransport
    recorder: Recorder
    gateway: SignedTransport

    async def refused(self, call: Call) -> str:
        """The reason why this call is not believed; "TAKEN" if it is."""
        path, request, metadata = call
        try:
            await self.stranger.call(path, request, metadata=metadata, timeout_s=LIMIT_S)
        except RpcError as error:
            return error.reason if error.code is Code.UNAUTHENTICATED else "TAKEN"
        return "TAKEN"


@asynccontextmanager
async def reached(
    folder: Path, service: Service = PAYMENT, *, key: Secret | None = None
) -> AsyncGenerator[Reached]:
    schema = Schema(MESH.descriptors.read_bytes())
    of_service = MeshKeys(key) if key else keys(KEY)
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(
            ServiceHost.open(
                service,
                Project(MESH.root, MESH).handlers(service),
                project=MESH.project,
                schema=schema,
                data_dir=folder,
                root=MESH.root,
                sagas=MESH.sagas,
            )
        )
        verify = CallVerifier(service.name, of_service)
        served = serve_grpc(host, "127.0.0.1", 0, schema, verify=verify)
        port = await stack.enter_async_context(served)
        way = await stack.enter_async_context(GrpcTransport("127.0.0.1", port))
        recorder = Recorder(way)
        yield Reached(host, port, way, recorder, SignedTransport(recorder, service.name, keys(KEY)))


def altered(call: Call, **changes: str | None) -> Call:
    """With other entries; None leaves one out."""
    path, request, metadata = call
    names = {name: getattr(entries, name) for name in changes}
    changed = {**metadata, **{names[name]: value for name, value in changes.items() if value is not None}}
    gone = {names[name] for name, value in changes.items() if value is None}
    return path, request, {name: value for name, value in changed.items() if name not in gone}


def signed_by(call: Call, key: str, *, service: str = "payment", expiry_ms: int = LATER_MS) -> Call:
    path, request, metadata = call
    bare = {name: value for name, value in metadata.items() if name != MAC}
    return path, request, {**bare, MAC: keys(key).sign(service, path, request, bare, expiry_ms)}


@pytest.mark.parametrize("switch", ["", "grpclib"])
async def test_a_service_with_a_key_does_nothing_for_whoever_has_none(
    tmp_path: Path, switch: plain.Switch
) -> None:
    with plain.using({switch} if switch else set()):
        async with reached(tmp_path) as at:
            charge = saga_call().to_metadata()
            await at.gateway.call(CHARGE_PAYMENT.path, CHARGE, metadata=charge, timeout_s=5.0)
            (taken,) = at.recorder.seen
            path, request, metadata = taken
            dearer = bytes(ChargePaymentRequest(order_id="order-1", customer_id="ann", amount_minor=1))
            undo = saga_call(Direction.COMPENSATION).to_metadata()
            mac = {MAC: metadata[MAC]}
            bare = {name: value for name, value in metadata.items() if name != MAC}
            refund: Call = (REFUND_PAYMENT.path, REFUND, undo)
            direct: Call = (REFUND_PAYMENT.path, REFUND, {IDEMPOTENCY_KEY: "mine"})
            now_ms = time.time_ns() // 1_000_000
            attacks: dict[str, tuple[Call, str]] = {
                "a refund by a stranger": (refund, MacRefusal.UNSIGNED),
                "a direct refund by a stranger": (direct, MacRefusal.UNSIGNED),
                "a claim by a stranger": ((CLAIM_PATH, b"", bare), MacRefusal.UNSIGNED),
                "another key": (signed_by(refund, OTHER_KEY), MacRefusal.UNKNOWN_KEY),
                "a MAC of nothing": (altered(taken, MAC="x"), MacRefusal.ALTERED),
                "a MAC that is no ASCII": (altered(taken, MAC=f"{metadata[MAC][:-1]}~"), MacRefusal.ALTERED),
                "another request": ((path, dearer, metadata), MacRefusal.ALTERED),
                "another method": ((REFUND_PAYMENT.path, request, metadata), MacRefusal.ALTERED),
                "a charge turned into its undoing": (
                    (REFUND_PAYMENT.path, REFUND, undo | mac),
                    MacRefusal.ALTERED,
                ),
                "made a direct call": ((path, request, mac), MacRefusal.ALTERED),
                "another saga": (altered(taken, SAGA_ID="order-2"), MacRefusal.ALTERED),
                "another run": (altered(taken, RUN="f" * 16), MacRefusal.ALTERED),
                "another start": (altered(taken, STARTED="1"), MacRefusal.ALTERED),
                "another step": (altered(taken, STEP="other"), MacRefusal.ALTERED),
                "another kind": (altered(taken, KIND="retriable"), MacRefusal.ALTERED),
                "another direction": (altered(taken, DIRECTION="compensation"), MacRefusal.ALTERED),
                "another attempt": (altered(taken, ATTEMPT="9"), MacRefusal.ALTERED),
                "more time": (altered(taken, NOT_AFTER=str(LATER_MS + 1)), MacRefusal.ALTERED),
                "another key of idempotency": (altered(taken, IDEMPOTENCY_KEY="x"), MacRefusal.ALTERED),
                "another caller": (altered(taken, CALLER="bob"), MacRefusal.ALTERED),
                "no caller": (altered(taken, CALLER=None), MacRefusal.ALTERED),
                "claims that nobody made": (altered(taken, CLAIMS="%7B%7D"), MacRefusal.ALTERED),
                "signed for another service": (signed_by(taken, KEY, service="order"), MacRefusal.ALTERED),
                "a later expiry": (
                    altered(taken, MAC=metadata[MAC].replace(metadata[MAC].split(".")[1], str(LATER_MS))),
                    MacRefusal.ALTERED,
                ),
                "a recorded call after its time": (
                    signed_by(taken, KEY, expiry_ms=now_ms - 1),
                    MacRefusal.STALE,
                ),
            }
            found = {name: await at.refused(call) for name, (call, _) in attacks.items()}
            assert found == {name: expected for name, (_, expected) in attacks.items()}
            # What was recorded is the same call, and is answered as such, once more: the barrier knows it.
            assert await at.refused(taken) == "TAKEN"
            assert await at.refused(signed_by(refund, KEY)) == "TAKEN"


async def test_a_call_to_one_service_is_none_to_another_that_has_the_same_rpcs(tmp_path: Path) -> None:
    (tmp_path / "twin").mkdir()
    twin = replace(PAYMENT, name="twin")
    async with reached(tmp_path) as at, reached(tmp_path / "twin", twin) as other:
        charge = saga_call().to_metadata()
        await at.gateway.call(CHARGE_PAYMENT.path, CHARGE, metadata=charge, timeout_s=5.0)
        assert await other.refused(at.recorder.seen[0]) == MacRefusal.ALTERED
        await other.gateway.call(CHARGE_PAYMENT.path, CHARGE, metadata=charge, timeout_s=5.0)


async def test_a_read_is_signed_too_and_a_recorded_one_is_good_for_its_time_alone(tmp_path: Path) -> None:
    async with reached(tmp_path, INVENTORY) as at:
        stock = bytes(GetStockRequest(product_id="prod_1"))
        assert await at.refused((GET_STOCK.path, stock, {})) == MacRefusal.UNSIGNED
        await at.gateway.call(GET_STOCK.path, stock, metadata={}, timeout_s=5.0)
        ((_, _, metadata),) = at.recorder.seen
        left_s = int(metadata[MAC].split(".")[1]) / 1000 - time.time()
        assert 0 < left_s <= 5.0 + MARGIN_S


async def test_health_and_reflection_are_for_the_mesh_alone(tmp_path: Path) -> None:
    async with reached(tmp_path) as at:
        assert not await service_check(at.gateway)()
        assert "signed" in await service_check(at.stranger)()
        channel = Channel("127.0.0.1", at.port)
        try:
            with pytest.raises(GRPCError) as error:
                await HealthStub(channel).Check(HealthCheckRequest(), timeout=LIMIT_S)
            assert error.value.status is Code.UNAUTHENTICATED
            listed = reflection_pb2.ServerReflectionRequest(list_services="")
            with pytest.raises(GRPCError) as error:
                await reflection_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
                    [listed], timeout=LIMIT_S
                )
            assert error.value.status is Code.UNAUTHENTICATED
        finally:
            channel.close()


async def test_a_wrong_key_is_no_verdict_on_the_call_and_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(OTHER_KEY)
    async with reached(tmp_path) as at:
        secret = Secret.in_file(file, "SAGAGEN_MESH_KEY")
        gateway = SignedTransport(at.stranger, "payment", MeshKeys(secret))
        unsigned = SignedTransport(at.stranger, "payment", None)
        with capture_logs() as lines:
            for transport, words in (
                (gateway, "does not know this gateway's key"),
                (unsigned, "SAGAGEN_MESH_KEY"),
            ):
                for _ in range(3):
                    metadata = saga_call().to_metadata()
                    with pytest.raises(RpcError, match=words) as error:
                        await transport.call(CHARGE_PAYMENT.path, CHARGE, metadata=metadata, timeout_s=5.0)
                    # As the runtime's own refusals that pass: repeated whatever codes the contract names.
                    assert (error.value.code, error.value.is_ours) == (Code.UNAVAILABLE, True)
        told = [line["problem"] for line in lines if line["log_level"] == "error"]
        assert told == [gateway.problem, unsigned.problem]
        refused = [line["reason"] for line in lines if "refused" in line["event"]]
        assert refused == [MacRefusal.UNKNOWN_KEY, MacRefusal.UNSIGNED]
        assert not any(key in repr(lines) for key in (KEY, OTHER_KEY))
        assert "does not know" in await nobody_believes([gateway])
        assert not await nobody_believes([gateway, at.gateway])
        # Mended, without a restart: the refusal itself makes the gateway look at its file.
        file.write_text(KEY)
        with capture_logs() as lines:
            await gateway.call(CHARGE_PAYMENT.path, CHARGE, metadata=saga_call().to_metadata(), timeout_s=5.0)
        assert "believes this gateway again" in lines[-1]["event"]
        assert not await nobody_believes([gateway])


async def test_keys_change_while_calls_are_made_and_one_that_was_rotated_out_is_a_strangers(
    tmp_path: Path,
) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    async with reached(tmp_path, key=Secret.in_file(file, "SAGAGEN_MESH_KEY")) as at:
        charge = signed_by((CHARGE_PAYMENT.path, CHARGE, saga_call().to_metadata()), KEY)
        assert await at.refused(charge) == "TAKEN"
        file.write_text(f"{OTHER_KEY}\n{KEY}\n")
        # The service did not know this key a moment ago: it looks at its file at once.
        assert await at.refused(signed_by(charge, OTHER_KEY)) == "TAKEN"
        assert await at.refused(charge) == "TAKEN"
        file.write_text(OTHER_KEY)
        assert (
            await at.refused(signed_by(charge, "a key that makes it look again, of 32 bytes"))
            == "UNKNOWN_KEY"
        )
        assert await at.refused(charge) == MacRefusal.UNKNOWN_KEY
        assert await at.refused(signed_by(charge, OTHER_KEY)) == "TAKEN"


def test_every_entry_of_ours_is_covered() -> None:
    ours = {
        value
        for value in vars(entries).values()
        if isinstance(value, str) and (value.startswith("sagagen-") or value == IDEMPOTENCY_KEY)
    }
    assert ours - {MAC, entries.REPLAYED} == set(SIGNED)


def test_no_two_calls_have_one_text() -> None:
    """An entry that runs on into the next would be another call with the same MAC."""
    mesh = keys(KEY)
    call = {entries.CALLER: "ann", entries.CLAIMS: "b"}
    mac = mesh.sign("payment", "/a/B", b"", call, LATER_MS)
    moved = {entries.CALLER: "ann\nb", MAC: mac}
    with pytest.raises(RpcError, match="more than one line"):
        mesh.verify("payment", "/a/B", b"", moved, 0)
    with pytest.raises(ValueError, match="more than one line"):
        mesh.sign("payment", "/a/B", b"", {entries.CALLER: "ann\nb"}, LATER_MS)
    at_its_end = {
        entries.CALLER: "ann",
        MAC: mesh.sign("payment", "/a/B", b"b", {entries.CALLER: "ann"}, LATER_MS),
    }
    with pytest.raises(RpcError, match="not the one that was signed"):
        mesh.verify("payment", "/a/B", b"", {**at_its_end, entries.CLAIMS: "b"}, 0)
