"""Codes about sagas, their steps and their older versions."""

from collections.abc import Iterator

from sagagen.catalogue.entry import FILE_NAME, PROTO, Entry, Section

RESERVE = "call: inventory/ReserveStock"
RELEASE = "compensate: { call: inventory/ReleaseStock, request: { order_id: saga.id } }"
LOOK = "- name: look"
PIVOT = "kind: pivot"
KEPT = "contracts/sagas/return_order.v1.yaml"


def _steps() -> Iterator[Entry]:
    yield Entry(
        "SG060",
        "A saga without steps.",
        "Add one.",
        "steps: []",
        "steps: [{ name: take_back, call: order/TakeBack, request: { order_id: saga.id }, compensate: none }]",
    )
    yield Entry(
        "SG061", "Two steps of one name.", "Rename one.", "- name: reserve_stock", "- name: charge_payment"
    )
    yield Entry(
        "SG062",
        "A step named `completion` or `acceptance`, which `respond.after` reads as moments.",
        "Rename it.",
        "- name: completion",
        LOOK,
    )
    yield Entry(
        "SG063",
        "A call that is not written service/Method, or a trigger that is not package.Service/Method.",
        "Write it so.",
        "call: ReserveStock",
        RESERVE,
    )
    yield Entry(
        "SG064",
        "A call names a service that the mesh lacks.",
        "Name one under `services`; steps use its name there, not the proto's.",
        "call: inventry/ReserveStock",
        RESERVE,
    )
    yield Entry(
        "SG065",
        "A call names an rpc that the service lacks.",
        "Correct it, or declare it.",
        "call: inventory/ReserveStok",
        RESERVE,
    )
    yield Entry(
        "SG066",
        "A step or compensation calls a streaming rpc.",
        "Call a unary one.",
        "call: inventory/CountStock  # returns (stream Nothing)",
        "call: inventory/GetStock",
        also=(
            (
                PROTO,
                "rpc CountStock(Nothing) returns (Nothing);",
                "rpc CountStock(Nothing) returns (stream Nothing);",
            ),
        ),
        beside=("SG024",),
    )


def _undoing() -> Iterator[Entry]:
    yield Entry(
        "SG067",
        "A compensatable step does not say how it is compensated.",
        "Add `compensate`, or say `compensate: none`.",
        "reference: steps.create_order.order.order_id",
        f"reference: steps.create_order.order.order_id\n        {RELEASE}",
    )
    yield Entry(
        "SG068",
        "A compensation that is never called: of a read, the pivot or a retriable step.",
        "Remove it.",
        f"{PIVOT}\n        compensate: {{ call: order/TakeBack, request: {{ order_id: saga.id }} }}",
        PIVOT,
    )
    yield Entry(
        "SG069",
        "A compensation calls a read.",
        "Call a write, or say `compensate: none`.",
        "compensate: { call: inventory/GetStock, request: { product_id: saga.id } }",
        RELEASE,
    )
    yield Entry(
        "SG070",
        "A second pivot.",
        "A saga has one point of no return: make the later one retriable.",
        f"{LOOK}\n        {PIVOT}",
        LOOK,
    )
    yield Entry(
        "SG071",
        "A compensatable step after the pivot.",
        "Make it retriable, or move it before the pivot.",
        "compensate: none",
        "kind: retriable",
    )
    yield Entry(
        "SG072",
        "A retriable step before the pivot, or without one.",
        "Move it after the pivot, or mark the go/no-go step as the pivot.",
        f"{LOOK}\n        kind: retriable",
        LOOK,
    )
    yield Entry(
        "SG073",
        "`respond.after` names no step.",
        "Name a step, `completion` or `acceptance`.",
        "after: create_ordr",
        "after: create_order",
    )
    yield Entry(
        "SG074",
        "One attempt may take longer than the saga's deadline.",
        "Shorten the timeout or extend the deadline.",
        f"{RESERVE}\n        timeout: 2m",
        RESERVE,
    )


def _retries() -> Iterator[Entry]:
    yield Entry(
        "SG075",
        "A retry setting that has no effect there: `give_up_after` on a step that the deadline bounds, `max_attempts` "
        "or `codes` on a call that is repeated until it is done (compensation, pivot, retriable step).",
        "Remove it.",
        f"{PIVOT}\n        retry: {{ max_attempts: 5 }}",
        PIVOT,
    )
    yield Entry(
        "SG076",
        "`initial` is longer than `max`.",
        "Swap them.",
        "initial: 5s, max: 2s",
        "initial: 50ms, max: 2s",
    )
    yield Entry(
        "SG077",
        "A service forgets calls sooner than a saga may still repeat or undo them: its retention is no longer than the "
        "saga's deadline and every `give_up_after` on the way.",
        "Lengthen the service's `retention` (default 30d), or shorten `give_up_after` or the deadline.",
        "inventory: { implements: [shop.v1.StockService], retention: 2d }",
        "inventory: { implements: [shop.v1.StockService] }",
    )
    yield Entry(
        "SG078",
        "The `until` of a waiver is no day of the calendar.",
        "Write it as `2026-12-31`.",
        "until: 2027-06-31",
        "until: 2027-06-30",
    )
    yield Entry(
        "SG079",
        "The wait before a step's second attempt can be as long as the saga's deadline: it may never be tried again.",
        "Shorten `retry.initial`, or extend the deadline.",
        f"{RESERVE}\n        retry: {{ initial: 90s, max: 2m }}",
        RESERVE,
    )
    yield Entry(
        "SG080",
        "A step acts at one service and is undone at another. That one's barrier has not seen the action, takes the "
        "compensation for one of nothing, and does nothing.",
        "Undo it where it was done; what is done elsewhere is a step of its own.",
        "compensate: { call: order/TakeBack, request: { order_id: saga.id } }",
        RELEASE,
    )
    yield Entry(
        "SG081",
        "A request leaves out a field without which validation (buf.validate) refuses every message of its type.",
        "Fill the field.",
        "compensate: { call: inventory/ReleaseStock }",
        RELEASE,
    )
    yield Entry(
        "SG082",
        "An answer with `respond.body` and a status that has no body (204, 205).",
        "Remove `body`, or answer with 200 or 201.",
        "status: 204",
        "status: 201",
    )
    yield Entry(
        "SG083",
        "Answers are kept for a shorter time than a service remembers calls: a retry between the two is a new saga at "
        "the gateway and an old one at the service, which refuses it.",
        "Keep answers (`idempotency.retention`) at least as long as the services' `retention`.",
        "retention: 7d",
        "retention: 30d",
        is_warning=True,
    )


def _kept() -> Iterator[Entry]:
    yield Entry(
        "SG090",
        "A file in contracts/sagas/ is not named after a saga and a version.",
        "Call it `<saga>.v<version>.yaml`; `sagagen bump` does.",
        "contracts/sagas/return_order.yaml",
        KEPT,
        FILE_NAME,
    )
    yield Entry(
        "SG091",
        "A kept file's name and its `version` differ.",
        "Make them equal.",
        "version: 3",
        "version: 1",
        KEPT,
    )
    yield Entry(
        "SG092",
        "A version is kept that is not older than the one in saga.yaml.",
        "Raise the version in saga.yaml, or delete the file.",
        "version: 1",
        "version: 2",
    )
    yield Entry(
        "SG093",
        "With `--running`: an older version is kept that no open saga needs.",
        "Delete its file.",
        is_warning=True,
    )


SECTIONS = (
    Section("Sagas and steps: SG060 to SG089", (*_steps(), *_undoing(), *_retries())),
    Section("Older versions of sagas: SG090 to SG099", tuple(_kept())),
)
