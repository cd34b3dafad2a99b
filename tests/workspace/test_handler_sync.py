"""Handler files follow the contract, and keep every line that somebody wrote."""

import ast
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import FUZZ_ROUNDS

from sagagen.emit.handler_contract import HandlerContract, HandlerMethod
from sagagen.python_names import PyClass
from sagagen.workspace.handler_sync import sync_handler
from sagagen.workspace.synced import Synced

PB = "generated.pb.shop.order.v1"
RPCS = ("Create", "Confirm", "Cancel", "Get")


def contract(rpcs: Sequence[str] = RPCS, **renamed: str) -> HandlerContract:
    """Of an order service; `renamed`: what a message is called instead."""

    def message(name: str) -> PyClass:
        return PyClass(PB, renamed.get(name, name))

    methods = tuple(
        HandlerMethod(
            name=rpc.lower(),
            rpc=f"shop.order.v1.Orders.{rpc}",
            request=message(f"{rpc}Request"),
            response=message(f"{rpc}Response"),
            doc=(f'"""{rpc}s an order."""',),
            unwritten=f'"order.{rpc.lower()} is not written yet"',
        )
        for rpc in rpcs
    )
    messages = frozenset(name for method in methods for name in (method.request, method.response))
    base = PyClass("generated.services.order", "OrderHandlers")
    return HandlerContract("handlers/order.py", "OrderService", base, methods, messages, {})


HEAD = f"""\
from {PB} import CreateRequest, CreateResponse
from generated.services.order import OrderHandlers
from sagagen.runtime import Call


"""
CREATE = """\
    async def create(self, request: CreateRequest, call: Call) -> CreateResponse:
        return CreateResponse()
"""
PLAIN = f"{HEAD}class OrderService(OrderHandlers):\n{CREATE}"

FILES = {
    "plain": PLAIN,
    "no final newline": PLAIN.removesuffix("\n"),
    "CRLF": PLAIN.replace("\n", "\r\n"),
    "a byte order mark": f"\ufeff{PLAIN}",
    "tabs": PLAIN.replace("    ", "\t"),
    "two spaces": PLAIN.replace("    ", "  "),
    "odd formatting": PLAIN.replace("CreateResponse()", "CreateResponse  ( )   # odd ;  but   mine").replace(
        "self, request: CreateRequest", "self ,request:CreateRequest"
    ),
    "comments everywhere": "# mine\n" + PLAIN.replace("        return", "        # why\n        return")
    + "        # after\n\n    # of the class\n\n# the end\n",
    "helper code": PLAIN + "\n\ndef total(items: list[int]) -> int:\n    return sum(items)\n",
    "a decorator": PLAIN.replace("    async def", "    @staticmethod\n    def old() -> None: ...\n\n    async def"),
    "a nested class": PLAIN.replace(CREATE, f"    class Inner:\n        async def get(self) -> None: ...\n\n{CREATE}"),
    "several classes": HEAD + "class First:\n    async def get(self) -> None: ...\n\n\n" + PLAIN.removeprefix(HEAD)
    + "\n\nclass Last:\n    def create(self) -> None: ...\n",
    "a star import": "from os.path import *\n" + PLAIN,
    "an aliased import": PLAIN.replace("import Call\n", "import Call as Incoming\n").replace(
        "call: Call", "call: Incoming"
    ),
    "a multi-line signature": PLAIN.replace(
        "self, request: CreateRequest, call: Call", "\n        self,\n        request: CreateRequest,\n        call: Call,\n    "
    ),
    "imports in parentheses": PLAIN.replace(
        "import CreateRequest, CreateResponse", "import (  # two\n    CreateRequest,\n    CreateResponse,  # and its answer\n)"
    ),
    "imports for types only": "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n"
    + f"    from {PB} import CreateRequest\n" + PLAIN.replace("import CreateRequest, CreateResponse", "import CreateResponse"),
    "an empty class": f"{HEAD}class OrderService(OrderHandlers):\n    pass\n",
    "a class in one line": f"{HEAD}class OrderService(OrderHandlers): pass\n",
    "names that are not ASCII": PLAIN.replace("return", "größe = 'ß\u2028'; return"),
    "a name in the way": PLAIN + "\n\nStatus = 3\n",
}  # fmt: skip


def lines(text: str) -> list[str]:
    return [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]


def survive(before: str, after: str) -> bool:
    """Whether each line of code is there still, in order; imports may have grown in place."""
    rest = iter(lines(after))
    # A class in one line has to be broken up, to hold more.
    kept = [line.replace(": pass", ":") for line in lines(before) if "import" not in line]
    return all(any(line.rstrip() == other.rstrip() for other in rest) for line in kept)


def methods_of(text: str) -> dict[str, ast.AsyncFunctionDef]:
    module = ast.parse(text.removeprefix("\ufeff"))
    classes = [node for node in module.body if isinstance(node, ast.ClassDef) and node.name == "OrderService"]
    return {node.name: node for node in classes[0].body if isinstance(node, ast.AsyncFunctionDef)}


def holds(content: bytes, wanted: HandlerContract) -> Synced:
    """Sync, and see what has to be so whatever the file and the contract say."""
    synced = sync_handler(content, wanted)
    before, after = content.decode(), synced.content.decode()
    assert survive(before, after), after
    assert {method.name for method in wanted.methods} <= methods_of(after).keys()
    assert (synced.content.count(b"\r\n") == synced.content.count(b"\n")) == (b"\r\n" in content)
    again = sync_handler(synced.content, wanted)
    assert again.content == synced.content
    assert (again.added, again.followed) == ((), ())
    return synced


@pytest.mark.parametrize("text", FILES.values(), ids=FILES.keys())
def test_a_file_gains_what_it_lacks_and_keeps_the_rest(text: str) -> None:
    synced = holds(text.encode(), contract())
    assert set(synced.added) >= {"confirm", "cancel", "get"}
    for name in synced.added:
        method = methods_of(synced.content.decode())[name]
        assert ast.get_docstring(method) == f"{name.title()}s an order."
        assert "UNIMPLEMENTED" in ast.unparse(method.body[-1])


def test_a_file_in_line_is_left_as_it_is() -> None:
    assert sync_handler(PLAIN.encode(), contract(["Create"])).content == PLAIN.encode()


def test_a_method_goes_beside_its_neighbours_of_the_contract() -> None:
    whole = sync_handler(PLAIN.encode(), contract(["Create", "Get"])).content
    after = sync_handler(whole, contract()).content.decode()
    assert list(methods_of(after)) == ["create", "confirm", "cancel", "get"]


def test_what_new_methods_name_is_imported() -> None:
    after = sync_handler(PLAIN.encode(), contract()).content.decode()
    imported = {
        name.name for node in ast.parse(after).body if isinstance(node, ast.ImportFrom) for name in node.names
    }
    assert {"GetRequest", "GetResponse", "RpcError", "Status", "Call", "CreateRequest"} <= imported


def test_annotations_and_imports_follow_a_request_that_is_renamed() -> None:
    synced = sync_handler(PLAIN.encode(), contract(["Create"], CreateRequest="PlaceRequest"))
    assert synced.followed == ("create",)
    assert synced.content.decode() == PLAIN.replace("CreateRequest", "PlaceRequest")


def test_a_method_whose_rpc_is_gone_stays_and_is_named() -> None:
    whole = sync_handler(PLAIN.encode(), contract()).content
    messages = contract().messages  # of a package that keeps them
    synced = sync_handler(whole, replace(contract(["Create", "Confirm", "Cancel"]), messages=messages))
    assert "async def get(" in synced.content.decode()
    (warning,) = [one for one in synced.findings if one.code == "SG163"]
    assert "get" in warning.message
    assert "async def get(" in lines_at(whole, warning.at.line)


def lines_at(content: bytes, line: int) -> str:
    return content.decode().split("\n")[line - 1]


@pytest.mark.parametrize(
    ("content", "line", "code"),
    [
        pytest.param(PLAIN.encode() + b"\ndef (:\n", 10, "SG160", id="no Python"),
        pytest.param(PLAIN.encode() + b"\nx = '\xff'\n", 10, "SG160", id="no UTF-8"),
        pytest.param(PLAIN.replace("OrderService", "Orders").encode(), 6, "SG161", id="another class"),
        pytest.param(b"", 1, "SG161", id="nothing"),
    ],
)
def test_what_cannot_be_edited_is_reported_with_its_line_and_left_alone(
    content: bytes, line: int, code: str
) -> None:
    synced = sync_handler(content, contract())
    assert synced.content == content
    assert [(one.code, one.at.line) for one in synced.findings] == [(code, line)]


PIECES = st.sampled_from(
    [
        "\n", "\n\n\n", "    # a comment\n", "        # deeper\n", "    LIMIT = 3\n", "    x: int   =  1 ;y=2\n",
        "    @property\n    def size(self) -> int:\n        return 1\n", "    def helper(self, n: int) -> int: return n\n",
        '    """A string."""\n', "    class Inner:\n        async def get(self) -> None: ...\n",
        "    async def other(\n        self,\n    ) -> None:\n        pass  # odd\n", "    if True:\n        flag = 1\n",
    ]
)  # fmt: skip
BODIES = st.lists(PIECES, max_size=5).map("".join)
NEWLINES = st.sampled_from(["\n", "\r\n"])


@st.composite
def handler_files(draw: st.DrawFn) -> bytes:
    """Any pieces above and below the one method that is written, in any of the ways to end lines and indent."""
    text = f"{HEAD}class OrderService(OrderHandlers):\n{draw(BODIES)}{CREATE}{draw(BODIES)}"
    text += draw(st.sampled_from(["", "\n\nTOTAL = 1\n", "\n\n# end\n", "\n\nclass Other: ...\n"]))
    if draw(st.booleans()):
        text = text.rstrip("\n")
    text = text.replace("    ", draw(st.sampled_from(["    ", "  ", "\t"])))
    mark = draw(st.sampled_from(["", "\ufeff"]))
    return f"{mark}{text}".replace("\n", draw(NEWLINES)).encode()


CONTRACTS = st.lists(st.sampled_from(RPCS[1:]), unique=True).flatmap(
    lambda others: st.permutations(["Create", *others])
)


@settings(max_examples=50 * FUZZ_ROUNDS)
@given(handler_files(), st.lists(CONTRACTS, min_size=1, max_size=3))
def test_no_line_is_lost_whatever_the_file_and_however_the_contract_goes(
    content: bytes, contracts: list[list[str]]
) -> None:
    for rpcs in contracts:
        content = holds(content, contract(rpcs)).content
