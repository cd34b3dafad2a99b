"""What makes a process ready: its checks, and the services that a gateway has to have reached."""

import pytest
from grpclib.const import Status as Code

from sagagen.runtime.health import Readiness, service_check
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.transport import Reply

NOT_SERVING = b"\x08\x02"
SERVING = b"\x08\x01"


class Service:
    """Answers its health service's Check, or fails."""

    def __init__(self, answer: bytes | RpcError) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def call(self, path: str, request: bytes, **_: object) -> Reply:
        self.asked.append(path)
        if isinstance(self.answer, RpcError):
            raise self.answer
        return Reply(self.answer)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (SERVING, ""),
        (NOT_SERVING, "it says that it does not serve"),
        (RpcError(Code.UNIMPLEMENTED, "no health service here"), ""),
        (RpcError(Code.UNAVAILABLE, "connection refused"), "connection refused"),
        (RpcError(Code.UNAVAILABLE, ""), "UNAVAILABLE"),
    ],
)
async def test_a_service_says_whether_it_serves(answer: bytes | RpcError, says: str) -> None:
    service = Service(answer)
    assert await service_check(service)() == says
    assert service.asked == ["/grpc.health.v1.Health/Check"]


async def test_a_service_has_to_be_reached_once_and_other_checks_pass_each_time() -> None:
    service, disk = Service(NOT_SERVING), [""]

    async def check_disk() -> str:
        return disk[0]

    readiness = Readiness({"disk": check_disk}, {"payment": service_check(service)})
    assert await readiness.problems() == ["payment: it says that it does not serve"]
    disk[0] = "full"
    assert await readiness.problems() == ["disk: full", "payment: it says that it does not serve"]
    service.answer = SERVING
    assert await readiness.problems() == ["disk: full"]
    service.answer = NOT_SERVING
    disk[0] = ""
    assert await readiness.problems() == []
    assert len(service.asked) == 3, "it is not asked again"
