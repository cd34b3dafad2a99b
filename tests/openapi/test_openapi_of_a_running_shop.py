"""Requests made up from the served document, against the shop as a process: it answers as the document says.

OPENAPI_EXAMPLES says how many requests there are in all: few by default, 1000 for the whole measure.
"""

from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus
from typing import Any

import pytest
import schemathesis
from hypothesis import Phase, given, settings
from openapi_lab import document_of
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks
from stack import Stack
from thorough import OPENAPI_EXAMPLES, SLOW_AND_LARGE
from waiting import LIMIT_S

pytestmark = pytest.mark.slow

OPERATIONS = [
    "CheckoutService_PlaceOrder",
    "InventoryService_GetStock",
    "OrderService_GetOrder",
    "getSaga",
    "listSagas",
]
CHECKS: list[Any] = [
    checks.not_a_server_error,  # pyright: ignore[reportUnknownMemberType] - its checks have no types
    openapi_checks.status_code_conformance,  # pyright: ignore[reportUnknownMemberType]
    openapi_checks.content_type_conformance,  # pyright: ignore[reportUnknownMemberType]
    openapi_checks.response_headers_conformance,  # pyright: ignore[reportUnknownMemberType]
    openapi_checks.response_schema_conformance,  # pyright: ignore[reportUnknownMemberType]
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with closing(Stack(tmp_path_factory.mktemp("shop") / "var")) as stack:
        stack.start("up")
        yield stack


def test_the_document_is_served(shop: Stack) -> None:
    answer = shop.http.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == document_of("shop")


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_the_gateway_answers_as_the_document_says(shop: Stack, operation_id: str) -> None:
    document: Any = schemathesis.openapi.from_url(f"{shop.url}/openapi.json")
    operation = document.find_operation_by_id(operation_id)
    statuses: set[int] = set()

    @settings(
        max_examples=OPENAPI_EXAMPLES // len(OPERATIONS),
        database=None,
        suppress_health_check=SLOW_AND_LARGE,
        phases=[Phase.generate],
        derandomize=True,
    )
    @given(case=operation.as_strategy())
    def made_up(case: Any) -> None:
        response = case.call(base_url=shop.url, timeout=LIMIT_S)
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    made_up()
    assert statuses
    assert HTTPStatus.SERVICE_UNAVAILABLE not in statuses, "nothing here is overload"


def test_every_operation_is_tried(shop: Stack) -> None:
    paths: dict[str, dict[str, Any]] = document_of("shop")["paths"]
    assert sorted(each["operationId"] for path in paths.values() for each in path.values()) == sorted(
        OPERATIONS
    )
