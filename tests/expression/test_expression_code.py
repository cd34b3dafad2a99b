"""The emitted Python reads as if a person had written it."""

from pathlib import Path
from textwrap import dedent

import pytest
from expression_lab import Lab

from sagagen.contract import read_contract
from sagagen.contract.model import Saga
from sagagen.expression import RESERVED_NAMES, MessageExpr, render_function
from sagagen.expression.types import MessageType
from sagagen.python_names import PythonNames

ROOT = Path(__file__).parents[2]

FORMS = [
    # Selection, and what is unset
    ("text: input.text", "text=scope.input.text"),
    ("text: input.nick", 'text=scope.input.nick or ""'),
    ("nick: input.nick", "nick=scope.input.nick"),
    ("left: input.nick", "left=scope.input.nick"),
    ("text: input.item.name", "text=(scope.input.item or Item()).name"),
    ("item: input.inner.item", "item=(scope.input.inner or Everything()).item"),
    ("kind: input.maybe_kind", "kind=scope.input.maybe_kind or EverythingKind.KIND_UNSPECIFIED"),
    ("wrapped_text: input.wrapped_text", "wrapped_text=scope.input.wrapped_text"),
    ("wrapped_text: null", "wrapped_text=None"),
    ("when: input.when", "when=scope.input.when"),
    ("times: '[input.when]'", "times=[scope.input.when or EPOCH]"),
    ("nick: 'input.flag ? input.nick : input.text'", "nick=scope.input.nick if scope.input.flag else scope.input.text"),
    ("text: 'input.flag ? input.nick : \"x\"'", "text=(scope.input.nick or \"\") if scope.input.flag else 'x'"),
    ("text: input.from + input.class", "text=scope.input.from_ + scope.input.class_"),
    ("from: input.import", "from_=scope.input.import_"),
    ("text: saga.id", "text=scope.saga_id"),
    # What has no type to check is passed on as it is
    ("struct: input.struct", "struct=scope.input.struct"),
    (
        "any: 'has(input.any) ? input.any : input.anys[\"a\"]'",
        "any=scope.input.any if scope.input.any is not None else value_at(scope.input.anys, 'a')",
    ),
    ("values: input.values", "values=scope.input.values"),
    ("values: '[input.value]'", "values=[scope.input.value or Value(null_value=NullValue.NULL_VALUE)]"),
    ("anys: input.anys", "anys=scope.input.anys"),
    # proto2: a field's own default, and an enum that begins above 0
    ("small: input.old.attempts", "small=or_if_unset((scope.input.old or Old()).attempts, 3)"),
    ("old: 'lab.old.v1.Old{note: input.old.note}'", "old=Old(note=(scope.input.old or Old()).note)"),
    ("flag: input.old.active", "flag=(scope.input.old or Old()).active or False"),
    # has
    ("flag: has(input.nick)", "flag=scope.input.nick is not None"),
    ("flag: '!has(input.item)'", "flag=scope.input.item is None"),
    ("flag: has(input.any)", "flag=scope.input.any is not None"),
    ("flag: has(input.items)", "flag=len(scope.input.items) > 0"),
    ("flag: has(input.text)", 'flag=scope.input.text != ""'),
    ("flag: '!has(input.big)'", "flag=scope.input.big == 0"),
    ("flag: has(input.kind)", "flag=scope.input.kind != EverythingKind.KIND_UNSPECIFIED"),
    ("flag: has(input.flag) && !has(input.done)", "flag=scope.input.flag and not scope.input.done"),
    ("flag: has(input.item.note)", "flag=(scope.input.item or Item()).note is not None"),
    # Numbers: a check only where the ranges do not exclude failure
    ("small: input.small", "small=scope.input.small"),
    ("big: input.small", "big=scope.input.small"),
    ("small: input.big", "small=int32(scope.input.big)"),
    ("maybe_small: input.maybe_big", "maybe_small=unless_unset(scope.input.maybe_big, int32)"),
    ("small_numbers: input.numbers", "small_numbers=[int32(value) for value in scope.input.numbers]"),
    ("numbers: input.small_numbers", "numbers=scope.input.small_numbers"),
    (
        "small_totals: input.totals",
        "small_totals={key: int32(value) for key, value in scope.input.totals.items()}",
    ),
    ("single: input.real", "single=float32(scope.input.real)"),
    ("big: input.small * 2", "big=scope.input.small * 2"),
    ("big: input.big * 2", "big=int64(scope.input.big * 2)"),
    ("small: input.small + 1", "small=int32(scope.input.small + 1)"),
    ("small: input.small % 100", "small=remainder(scope.input.small, 100)"),
    ("big: size(input.words) / 2", "big=len(scope.input.words) // 2"),
    ("big: size(input.words) % 2 + 1", "big=len(scope.input.words) % 2 + 1"),
    ("big: input.big / input.small", "big=int64(quotient(scope.input.big, scope.input.small))"),
    ("big: input.big / 2", "big=quotient(scope.input.big, 2)"),
    ("big: -input.small", "big=-scope.input.small"),
    ("count: input.count - 1u", "count=uint64(scope.input.count - 1)"),
    ("real: input.real / 2.0", "real=scope.input.real / 2.0"),
    ("real: input.real / input.real", "real=divide(scope.input.real, scope.input.real)"),
    ("big: int(input.real * 100.0 + 0.5)", "big=double_to_int(scope.input.real * 100.0 + 0.5)"),
    ("big: (input.small + 1) * 2", "big=(scope.input.small + 1) * 2"),
    ("big: input.small - (1 - input.small)", "big=scope.input.small - (1 - scope.input.small)"),
    ("count: 5", "count=5"),
    ("real: 5", "real=5.0"),
    ("real: .inf", 'real=float("inf")'),
    ("text: string(input.big)", "text=str(scope.input.big)"),
    # Sums and extremes
    ("big: sum(input.small_numbers)", "big=sum(scope.input.small_numbers)"),
    ("big: sum(input.numbers)", "big=int64_sum(scope.input.numbers)"),
    ("count: sum([input.count, 1u])", "count=uint64_sum([scope.input.count, 1])"),
    ("count: 'sum([input.small_count])'", "count=sum([scope.input.small_count])"),
    ("real: sum(input.reals)", "real=double_sum(scope.input.reals)"),
    ("small: sum(input.items.map(i, i.quantity))", "small=int32(sum([i.quantity for i in scope.input.items]))"),
    ("small: min(input.small_numbers)", "small=least_of(scope.input.small_numbers)"),
    ("small: 'max([input.small, 0])'", "small=greatest_of([scope.input.small, 0])"),
    ("big: sum(steps.each.map(e, e.small))", "big=sum([e.small for e in each])"),
    # Truth
    ("flag: input.flag == true", "flag=scope.input.flag"),
    ("flag: input.flag != true", "flag=not scope.input.flag"),
    ("flag: input.wrapped_flag == true", "flag=scope.input.wrapped_flag is True"),
    ("flag: input.wrapped_text == null", "flag=scope.input.wrapped_text is None"),
    ("flag: null != input.wrapped_text", "flag=scope.input.wrapped_text is not None"),
    ("flag: input.wrapped_text == ''", "flag=scope.input.wrapped_text == ''"),
    ("flag: '!(input.small < 1)'", "flag=not (scope.input.small < 1)"),
    ("flag: '!(input.small == 1)'", "flag=scope.input.small != 1"),
    ("flag: '!(\"a\" in input.words)'", "flag='a' not in scope.input.words"),
    (
        "flag: input.flag || input.done && input.small > 1",
        "flag=scope.input.flag or (scope.input.done and scope.input.small > 1)",
    ),
    ("flag: (input.small > 1) == (input.big > 1)", "flag=(scope.input.small > 1) == (scope.input.big > 1)"),
    ("flag: 1 == 1 && Item.Tag{name:'a'}.name == 'a'", "flag=True and ItemTag(name='a').name == 'a'"),
    (
        "flag: 1 / input.small > 0 || input.small == 0",
        "flag=either(lambda: quotient(1, scope.input.small) > 0, lambda: scope.input.small == 0)",
    ),
    (
        "flag: input.small != 0 && 1 / input.small > 0",
        "flag=scope.input.small != 0 and quotient(1, scope.input.small) > 0",
    ),
    # Lists, maps and macros
    ("numbers: '[1] + input.numbers + [2, 3]'", "numbers=[1, *scope.input.numbers, 2, 3]"),
    ("text: input.words[0]", "text=item_at(scope.input.words, 0)"),
    ("big: input.totals['a']", "big=value_at(scope.input.totals, 'a')"),
    ("totals: { a: 1, b: input.big }", "totals={'a': 1, 'b': scope.input.big}"),
    ("numbered: { 7: { name: input.text } }", "numbered={7: Item(name=scope.input.text)}"),
    ("words: input.items.map(i, i.name)", "words=[i.name for i in scope.input.items]"),
    ("items: input.items.filter(i, i.quantity > 1)", "items=[i for i in scope.input.items if i.quantity > 1]"),
    (
        "words: input.items.filter(i, i.quantity > 1).map(j, j.name)",
        "words=[j.name for j in scope.input.items if j.quantity > 1]",
    ),
    (
        "words: input.items.map(i, i.quantity > 1, i.name)",
        "words=[i.name for i in scope.input.items if i.quantity > 1]",
    ),
    ("flag: input.items.exists(i, i.note == 'x')", "flag=any((i.note or \"\") == 'x' for i in scope.input.items)"),
    ("flag: input.items.all(i, i.quantity > 0)", "flag=all(i.quantity > 0 for i in scope.input.items)"),
    (
        "flag: input.items.exists_one(i, i.quantity > 0)",
        "flag=sum(1 for i in scope.input.items if i.quantity > 0) == 1",
    ),
    (
        "flag: input.numbers.exists(n, 1 / n > 0)",
        "flag=some(scope.input.numbers, lambda n: quotient(1, n) > 0)",
    ),
    ("flag: input.text.startsWith('a')", "flag=scope.input.text.startswith('a')"),
    ("flag: input.text.contains('a')", "flag='a' in scope.input.text"),
    ("numbers: input.words.map(w, 1)", "numbers=[1 for _w in scope.input.words]"),
    (
        "flag: input.words.exists(w, 1 / input.big > 0)",
        "flag=some(scope.input.words, lambda _w: quotient(1, scope.input.big) > 0)",
    ),
    ("real: -(-input.real)", "real=-(-scope.input.real)"),
    # Names that are taken
    ("words: input.items.map(len, len.name)", "words=[len_item.name for len_item in scope.input.items]"),
    ("words: input.items.map(Item, Item.name)", "words=[item.name for item in scope.input.items]"),
    ("words: input.items.map(class, class.name)", "words=[class_.name for class_ in scope.input.items]"),
    ("words: input.items.map(input, input.name)", "words=[input.name for input in scope.input.items]"),
    (
        "flag: input.items.all(x, x.tags.all(x, x.name != ''))",
        "flag=all(all(x2.name != '' for x2 in x.tags) for x in scope.input.items)",
    ),
    # Types
    ("parcel: 'lab.other.v1.Parcel{code: input.text}'", "parcel=OtherParcel(code=scope.input.text)"),
    ("parcel: '.lab.other.v1.Parcel{}'", "parcel=OtherParcel()"),
    ("parcel: { size: lab.other.v1.Parcel.Size.BULKY }", "parcel=OtherParcel(size=OtherParcelSize.BULKY)"),
    ("maybe_kind: Everything.Kind.LARGE", "maybe_kind=EverythingKind.LARGE"),
    ("item: Item{}", "item=Item()"),
]  # fmt: skip


@pytest.mark.parametrize(("yaml", "code"), FORMS, ids=[yaml for yaml, _ in FORMS])
def test_an_expression_becomes_plain_python(lab: Lab, yaml: str, code: str) -> None:
    assert lab.returned(yaml) == f"Everything({code})"


def test_responses_are_read_once_at_the_top(lab: Lab) -> None:
    expr = lab.compiled("text: steps.earlier.text + steps.earlier.nick\ninner: steps.earlier")
    assert lab.source(expr, doc="Builds it.").function == dedent(
        '''\
        def build(scope: Scope[Everything]) -> Everything:
            """Builds it."""
            earlier = scope.response("earlier", Everything)
            return Everything(text=earlier.text + (earlier.nick or ""), inner=earlier)'''
    )
    assert expr.steps_read == {"earlier"}


def test_steps_of_any_name_get_a_local_variable(lab: Lab) -> None:
    response = lab.environment.input
    steps = dict.fromkeys(["scope", "len", "class", "int64"], response)
    expr = lab.compiled(
        "big: steps.int64.big + 1 + size(steps.len.text) + size(steps.scope.text) + size(steps.class.text)",
        steps=steps,
    )
    assert lab.source(expr).function.splitlines()[1:5] == [
        '    int64_response = scope.response("int64", Everything)',
        '    len_response = scope.response("len", Everything)',
        '    scope_response = scope.response("scope", Everything)',
        '    class_ = scope.response("class", Everything)',
    ]


def test_a_compensation_has_a_scope_of_its_own(lab: Lab) -> None:
    expr = lab.compiled("text: failure.reason", failure=True, total=True)
    assert lab.source(expr, in_compensation=True).function == dedent(
        """\
        def build(scope: CompensationScope[Everything]) -> Everything:
            return Everything(text=scope.failure.reason)"""
    )


def test_no_request_is_the_default_message(lab: Lab) -> None:
    for expr in (None, lab.compiled("", "Nothing"), lab.compiled("{}", "Nothing")):
        assert lab.source(expr, "Nothing").function.endswith("    return Nothing()")


@pytest.mark.parametrize(
    "doc", ['One "quoted"', 'Ends with "', "Back\\slash", 'Three """ quotes', "Two\n\nparagraphs"]
)
def test_any_text_can_be_a_docstring(lab: Lab, doc: str) -> None:
    namespace: dict[str, object] = {"Scope": dict, "Everything": object}
    exec(lab.source(None, doc=doc).function, namespace)
    documented = namespace["build"].__doc__
    assert documented is not None
    assert [line.strip() for line in documented.splitlines()] == doc.splitlines()


def test_every_imported_helper_is_a_reserved_name(lab: Lab) -> None:
    for yaml, _ in FORMS:
        source = lab.source(lab.compiled(yaml))
        for line in source.imports.splitlines():
            if line.startswith("from sagagen"):
                assert line.rpartition(" ")[2] in RESERVED_NAMES


SHOP = {
    "create_order": (
        "return CreateOrderRequest(order_id=scope.saga_id, customer_id=scope.input.customer_id, "
        "items=[OrderItem(product_id=i.product_id, quantity=i.quantity, "
        "unit_price_minor=double_to_int(i.price * 100.0 + 0.5)) for i in scope.input.items])",
        "return CancelOrderRequest(order_id=scope.saga_id, reason=scope.failure.reason)",
    ),
    "reserve_stock": (
        "return ReserveStockRequest(order_id=scope.saga_id, "
        "lines=[StockLine(product_id=i.product_id, quantity=i.quantity) for i in scope.input.items])",
        "return ReleaseStockRequest(order_id=scope.saga_id)",
    ),
    "charge_payment": (
        "return ChargePaymentRequest(order_id=scope.saga_id, customer_id=scope.input.customer_id, "
        "amount_minor=(create_order.order or Order()).total_minor)",
        "return RefundPaymentRequest(order_id=scope.saga_id)",
    ),
    "confirm_order": ("return ConfirmOrderRequest(order_id=scope.saga_id)", None),
}


def test_the_shops_requests() -> None:
    mesh, found = read_contract(ROOT)
    assert mesh is not None, found
    saga = mesh.sagas[0]

    def rendered(expr: MessageExpr, *, in_compensation: bool = False) -> str:
        return _render(saga, mesh.names, expr, in_compensation=in_compensation)

    for step in saga.calls:
        action, compensation = SHOP[step.name]
        assert rendered(step.action.request) == action
        if step.compensation is not None:
            assert rendered(step.compensation.request, in_compensation=True) == compensation
    assert saga.respond.body is not None
    assert rendered(saga.respond.body) == "return PlaceOrderResponse(order=create_order.order)"


def _render(saga: Saga, names: PythonNames, expr: MessageExpr, *, in_compensation: bool = False) -> str:
    assert isinstance(expr.root.type, MessageType)
    function = render_function(
        "request",
        expr,
        target=expr.root.type.descriptor,
        input=saga.trigger.input_type,
        in_compensation=in_compensation,
        names=names,
        doc="",
        refer=lambda py_class: py_class.name,
    )
    return function.lines[-1].strip()


SAME = [
    ("text: input.text", "text:   input . text  // a comment"),
    ("text: \"'a'\"", """text: '"\\x61"'"""),
    ("big: 255", "big: '0xFF'"),
    ("item: Item{}", "item: lab.v1.Item{}"),
    ("item: Item{}", "item: {}"),
    ("words: input.items.map(i, i.name)", "words: input.items.map(x, (x.name))"),
    ("text: input.text\nflag: true", "flag: true\ntext: input.text"),
    ("item: {name: input.text, quantity: 1}", "item: 'Item{quantity: 1, name: input.text}'"),
]
OTHER = [
    ("text: input.text", "text: input.nick"),
    ("text: input.text", "nick: input.text"),
    ("big: 1", "big: 2"),
    ("text: input.text + 'a'", "text: \"'a' + input.text\""),
    ("words: input.items.filter(i, i.quantity > 1).map(i, i.name)", "words: input.items.map(i, i.name)"),
    ("flag: input.flag && input.done", "flag: input.flag || input.done"),
    (
        "flag: input.items.all(x, x.tags.all(y, y.name == x.name))",
        "flag: input.items.all(x, x.tags.all(y, y.name == y.name))",
    ),
]


@pytest.mark.parametrize(("left", "right"), SAME)
def test_the_canonical_form_is_the_meaning_alone(lab: Lab, left: str, right: str) -> None:
    assert lab.compiled(left).canonical() == lab.compiled(right).canonical()


@pytest.mark.parametrize(("left", "right"), OTHER)
def test_another_meaning_has_another_canonical_form(lab: Lab, left: str, right: str) -> None:
    assert lab.compiled(left).canonical() != lab.compiled(right).canonical()


def test_the_canonical_form_does_not_change_between_versions_of_the_tool(lab: Lab) -> None:
    yaml = """
text: "input.flag ? steps.earlier.nick : saga.id"
small: input.big + 1
items: "input.items.filter(i, has(i.note)).map(i, Item{name: i.name})"
kind: Everything.Kind.LARGE
totals: { a: 1 }
"""
    assert lab.compiled(yaml).canonical() == (
        "(new lab.v1.Everything"
        " 1:9=(if (get input 11) (get steps.earlier 2) saga.id)"
        " 3:5=(add (get input 5) (int 1))"
        " 13:14=(enum lab.v1.Everything.Kind 2)"
        " 24:11=(map $1 (map $0 (get input 24) (has (get $0 5)) $0) - (new lab.v1.Item 1:9=(get $1 1)))"
        " 30:11=(mapping (string 'a'):(int 1)))"
    )
