"""What handlers ask of messages in vain is found, and nothing else is."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from project_copy import SHOP, WRITTEN, copy_project, edit, run_generate

from sagagen.contract import Mesh, load, resolve
from sagagen.emit.handler_contract import handler_contracts
from sagagen.emit.message_shapes import Holds, Many, MessageShape, Shapes, message_shapes
from sagagen.python_names import PyClass
from sagagen.workspace.handler_fields import unknown_fields
from sagagen.workspace.handler_module import HandlerModule
from sagagen.workspace.handler_sync import sync_handler
from sagagen.workspace.renames import not_known
from sagagen.workspace.source_text import SourceText

HEAD = """\
from dataclasses import replace
from typing import Any

import generated.pb.shop.order.v1
import generated.pb.shop.order.v1 as pb
from generated.pb.shop.order.v1 import CreateOrderRequest, CreateOrderResponse, Order, OrderItem, OrderStatus
from generated.services.order import OrderHandlers
from sagagen.runtime import Call


def order_of(row: Any) -> Order:
    return Order(order_id=row["id"])


async def stored(row: Any) -> Order | None:
    return order_of(row)


class OrderService(OrderHandlers):
    async def create_order(self, request: CreateOrderRequest, call: Call) -> CreateOrderResponse:
"""
CERTAIN: Mapping[str, str] = {
    "a field of the request": "return request.§guest",
    "of what a field holds": "x = CreateOrderResponse(); return x.order.§guest",
    "of an item": "return request.items[0].§guest",
    "of the items of a slice": "return [item.§guest for item in request.items[1:]]",
    "of each item": "\nfor item in request.items:\n    print(item.§guest)",
    "of sorted items": "\nfor item in sorted(request.items, key=lambda one: one.quantity):\n    print(item.§guest)",
    "in a generator": "return sum(item.§guest for item in request.items if item.quantity)",
    "in the condition of a comprehension": "return [1 for item in request.items if item.§guest]",
    "in a nested comprehension": "return [[one.§guest for one in request.items] for _ in range(3)]",
    "of a local variable": "order = Order(); return order.§guest",
    "of a variable of a variable": "first = Order(); second = first; return second.§guest",
    "of one that is bound twice alike": "\none = Order()\nif call:\n    one = Order(order_id='1')\nreturn one.§guest",
    "of an annotated variable": "order: Order = anything(); return order.§guest",
    "of an optional one": "order: Order | None = None; return order.§guest",
    "of a function's answer": "return order_of(request).§guest",
    "of a coroutine's answer": "order = await stored(request); return order.§guest",
    "of what was parsed": "return Order.parse(b'').§guest",
    "of an assignment in an expression": "return (order := Order()) and order.§guest",
    "of either of two": "order = Order() if call else order_of(1); return order.§guest",
    "in an inner function": "\ndef inner():\n    return request.§guest\nreturn inner()",
    "of an inner function's own": "\ndef inner(request: Order):\n    return request.§guest\nreturn inner(1)",
    "in a lambda": "return lambda: request.§guest",
    "through the module": "order = pb.Order(); return order.§guest",
    "through the whole module": "return generated.pb.shop.order.v1.Order().§guest",
    "a keyword of a constructor": "return Order(order_id='1', §guest='ada')",
    "a keyword through the module": "return pb.Order(§guest='ada')",
    "set, not read": "order = Order(); order.§guest = 'ada'",
    "in an f-string": "return f'{request.§guest}'",
    "behind other characters": "größe = 'ß'; return größe + request.§guest",
    "on a line of its own": "return (\n    request\n    .§guest\n)",
    "a value of an enum": "return OrderStatus.§PAID",
    "a value through the module": "return pb.OrderStatus.§PAID",
    "in a try for something else": "\ntry:\n    return request.§guest\nexcept KeyError:\n    raise",
}
RENAMED = """message CreateOrderRequest {
  string order_id = 1 [(buf.validate.field).string.min_len = 1];
  string customer_id = 2"""
UNCERTAIN: Mapping[str, str] = {
    "fields": "return request.order_id, request.items[0].product_id, Order(order_id='1', status=OrderStatus.PENDING)",
    "methods of messages": "return request.to_dict(), Order.parse(b''), bytes(request), request.is_set('order_id')",
    "methods of enums": "return OrderStatus.PENDING.name, OrderStatus(1).value, OrderStatus.from_string",
    "what is no message": "return request.order_id.guest, request.items.guest, call.guest, self.guest",
    "a private attribute": "request._seen = True; return request._seen",
    "what nobody knows": "order = anything(); return order.guest",
    "bound in two ways": "\norder = Order()\nif call:\n    order = anything()\nreturn order.guest",
    "an argument of the same name": "\ndef inner(request):\n    return request.guest\nreturn inner(1)",
    "a lambda's argument": "return (lambda request: request.guest)(1)",
    "a loop over something else": "\nfor request in anything():\n    print(request.guest)",
    "a comprehension's variable": "return [request.guest for request in anything()]",
    "with": "\nwith anything() as request:\n    return request.guest",
    "an exception": "\ntry:\n    pass\nexcept ValueError as request:\n    return request.guest",
    "unpacked": "request, _ = anything(); return request.guest",
    "added to": "order = Order(); order += anything(); return order.guest",
    "narrowed": "\nif isinstance(request, dict):\n    return request.guest",
    "asked for": "\nif hasattr(request, 'guest'):\n    return request.guest",
    "asked for below": "\norder = CreateOrderResponse()\n"
    "if hasattr(order.order, 'guest'):\n    return order.order.guest",
    "matched": "\nmatch request:\n    case object(guest=1):\n        return request.guest",
    "caught": "\ntry:\n    return request.guest\nexcept (AttributeError, KeyError):\n    return ''",
    "silenced": "return request.guest  # type: ignore[attr-defined]",
    "silenced for pyright": "return request.guest  # pyright: ignore",
    "a class of the function's own": "\nclass Order:\n    guest = 1\nreturn Order().guest, Order(guest=1)",
    "an import of the function's own": "from elsewhere import Order; return Order().guest",
    "declared elsewhere": "\ndef inner():\n    nonlocal request\n    request = anything()\nreturn request.guest",
    "keywords by a dict": "return Order(**anything())",
    "a key of a dict": "return {'guest': request}['guest'].guest",
    "a class that grows": "\nclass Larger(Order):\n    guest = 1\nreturn Order().guest",
}  # fmt: skip


def findings(body: str, head: str = HEAD) -> list[tuple[int, int, str]]:
    lines = body.split("\n")
    text = head + f"        {lines[0]}\n" + "".join(f"        {line}\n" for line in lines[1:])
    module = HandlerModule.read(SourceText.read(text.encode()))
    found = unknown_fields(text, module.certain, shapes(), not_known)
    return [(one.line, one.column, one.message) for one in found]


@cache
def shop() -> Mesh:
    mesh, found = resolve(load(SHOP)[0])
    assert mesh is not None, found
    return mesh


def shapes() -> Shapes:
    return message_shapes(shop())


@pytest.mark.parametrize("body", CERTAIN.values(), ids=CERTAIN.keys())
def test_what_is_certain_is_found_at_its_place(body: str) -> None:
    lines = [f"        {line}" for line in body.split("\n")]
    (row,) = [n for n, line in enumerate(lines) if "§" in line]
    name = "PAID" if "§PAID" in body else "guest"
    ((line, column, message),) = findings(body.replace("§", ""))
    assert (line, column) == (HEAD.count("\n") + row + 1, lines[row].index("§"))
    assert f'"{name}"' in message


@pytest.mark.parametrize("body", UNCERTAIN.values(), ids=UNCERTAIN.keys())
def test_what_is_not_certain_is_left_alone(body: str) -> None:
    assert findings(body) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import Call\n", "import Call\nfrom elsewhere import Order\n"),
        ("import Call\n", "import Call\nOrder = dict\n"),
        ("import Call\n", "import Call\n\nclass Order(dict):\n    guest = 1\n"),
        ("import Call\n", "import Call\n\nOrder.guest = property(len)\n"),
        ("import Call\n", "import Call\n\nsetattr(Order, 'guest', 1)\n"),
        ("class OrderService(OrderHandlers):\n", "class OrderService(OrderHandlers):\n    Order = dict\n"),
    ],
)
def test_a_class_that_may_be_another_is_left_alone(old: str, new: str) -> None:
    assert findings("order: Order = Order(); return order.guest", HEAD.replace(old, new)) == []


@pytest.mark.parametrize("depth", [400, 3000])
def test_code_that_is_nested_beyond_reason_is_not_looked_at(depth: int) -> None:
    """What Python itself can't read, or we can't walk, is said, and is no traceback."""
    contract = next(one for one in handler_contracts(shop()) if one.path == "handlers/order.py")
    text = (SHOP / contract.path).read_bytes() + b"\n\ndeep = " + b"-" * depth + b"1\n"
    found = sync_handler(text, contract)
    assert found.content == text
    assert [one.code for one in found.findings] in ([], ["SG160"])


def test_a_class_of_a_star_import_is_known() -> None:
    head = HEAD.replace(
        "import CreateOrderRequest, CreateOrderResponse, Order, OrderItem, OrderStatus", "import *"
    )
    assert [message for _, _, message in findings("return Order().guest", head)] == [
        'Order has no field "guest"'
    ]


def attributes(shapes: Shapes) -> Iterator[tuple[PyClass, str, Holds | None]]:
    for of, shape in shapes.items():
        if isinstance(shape, MessageShape):
            yield from ((of, name, holds) for name, holds in shape.fields.items())


def test_the_shapes_are_those_of_the_classes() -> None:
    """Each field that we think a message has, it has; and holds what we think."""
    for of, name, holds in attributes(shapes()):
        cls = getattr(__import__(of.module, fromlist=["_"]), of.name)
        annotation = cls.__annotations__[name]
        wanted = {Many.LIST: "list[", Many.MAP: "dict["}.get(holds.many, "") if holds else ""
        assert annotation.startswith(wanted), (of, name, annotation)
        assert not holds or holds.message.name in annotation


@pytest.mark.parametrize("service", ["order", "inventory", "payment"])
def test_the_shops_own_handlers_have_no_findings(service: str) -> None:
    contract = next(one for one in handler_contracts(shop()) if one.path == f"handlers/{service}.py")
    assert sync_handler((SHOP / contract.path).read_bytes(), contract).findings == ()


def whole(function: Any, request: object) -> None:
    """Run it to its end: also the function or the items that it returns."""
    result = function(request, 1)
    if callable(result):
        result()
    else:
        list(result)


def test_python_agrees_about_what_is_certain() -> None:
    """What is found in a body without other names fails when it runs: nothing is reported that would have worked."""
    from generated.pb.shop.order.v1 import (
        CreateOrderRequest,
        CreateOrderResponse,
        Order,
        OrderItem,
        OrderStatus,
    )

    known: dict[str, object] = {
        each.__name__: each
        for each in (CreateOrderRequest, CreateOrderResponse, Order, OrderItem, OrderStatus)
    }
    request = CreateOrderRequest(items=[OrderItem(), OrderItem(quantity=2)])
    for body in CERTAIN.values():
        lines = [line for line in body.replace("§", "").split("\n") if line]
        text = "def run(request, call):\n" + "".join(f"    {line}\n" for line in lines)
        names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
        if (
            names & {"anything", "order_of", "stored", "pb", "generated"}
            or "guest =" in body
            or "inner" in body
        ):
            continue
        scope = dict(known)
        exec(text, scope)
        with pytest.raises((AttributeError, TypeError)):
            whole(scope["run"], request)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_project("shop", tmp_path / "shop", (*WRITTEN, "generated"))


def test_a_renamed_field_is_named_with_its_old_and_its_new_name(project: Path) -> None:
    git = ("git", "-c", "user.name=n", "-c", "user.email=n@example.org")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "new")):
        subprocess.run([*git, *words], cwd=project, check=True)
    path = project / "handlers" / "order.py"
    text = path.read_text()
    line = text[: text.index("request.customer_id")].count("\n") + 1
    edit(
        project / "contracts/shop/order/v1/order.proto", {RENAMED: RENAMED.replace("customer_id", "guest_id")}
    )
    create = "customer_id: input.customer_id\n          items"
    edit(project / "contracts/saga.yaml", {create: create.replace("customer_id:", "guest_id:")})
    said = 'CreateOrderRequest has no field "customer_id": the contract calls it "guest_id" now'
    for _ in range(2):  # the second run compares with what git has
        done = run_generate(project)
        assert done.exit_code == 1
        assert f"handlers/order.py:{line}:" in done.stderr
        assert f"error[SG166]: {said}" in done.stderr
        assert "hint: write guest_id" in done.stderr
    assert path.read_text() == text, "nobody's code is touched"
    assert run_generate(project, "--check").exit_code == 1
    path.write_text(text.replace("request.customer_id", "request.guest_id"))
    assert run_generate(project).exit_code == 0
    loads = [sys.executable, "-c", "import handlers.order"]
    subprocess.run(loads, cwd=project, check=True)
