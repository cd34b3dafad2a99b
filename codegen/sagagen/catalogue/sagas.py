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
        "A step named `completion` or `acceptance`, which have a meaning of their own in `respond.after`.",
        "Rename it.",
        "- name: completion",
        LOOK,
    )
    yield Entry(
        "SG063",
        "A call that is not written as service/Method, or a trigger that is not written as package.Service/Method.",
        "Write it in that form.",
        "call: ReserveStock",
        RESERVE,
    )
    yield Entry(
        "SG064",
        "A call names a service that the mesh does not have.",
        "Use a name from `services`; steps use that name, not the proto's.",
        "call: inventry/ReserveStock",
        RESERVE,
    )
    yield Entry(
        "SG065",
        "A call names an rpc that the service does not have.",
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
        "A compensation that is never called, since its step is a read, the pivot or retriable.",
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
        "A saga has only one point of no return: make the later one retriable.",
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
        "A retriable step before the pivot, or in a saga without a pivot.",
        "Move it after the pivot, or mark the go/no-go step as the pivot.",
        f"{LOOK}\n        kind: retriable",
        LOOK,
    )
    yield Entry(
        "SG073",
        "`respond.after` names a step that the saga does not have.",
        "Name a step, `completion` or `acceptance`.",
        "after: create_ordr",
        "after: create_order",
    )
    yield Entry(
        "SG074",
        "A single attempt may take longer than the saga's deadline.",
        "Shorten the timeout or extend the deadline.",
        f"{RESERVE}\n        timeout: 2m",
        RESERVE,
    )


def _retries() -> Iterator[Entry]:
    yield Entry(
        "SG075",
        "A retry setting that has no effect: `give_up_after` on a step that the deadline limits, `max_attempts` "
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
        "A service forgets calls while a saga may still repeat or undo them: its retention is not longer than the "
        "saga's deadline plus every `give_up_after` on the way.",
        "Lengthen the service's `retention` (default 30d), or shorten `give_up_after` or the deadline.",
        "inventory: { implements: [shop.v1.StockService], retention: 2d }",
        "inventory: { implements: [shop.v1.StockService] }",
    )
    yield Entry(
        "SG078",
        "The `until` of a waiver is not a date.",
        "Write it as `2026-12-31`.",
        "until: 2027-06-31",
        "until: 2027-06-30",
    )
    yield Entry(
        "SG079",
        "The wait before a step's second attempt can be as long as the saga's deadline: it may never be retried.",
        "Shorten `retry.initial`, or extend the deadline.",
        f"{RESERVE}\n        retry: {{ initial: 90s, max: 2m }}",
        RESERVE,
    )
    yield Entry(
        "SG080",
        "A step acts at one service and is undone at another. The other's barrier has never seen the action, so it "
        "finds nothing to undo, and does nothing.",
        "Undo it at the service that did it; make work at another service a step of its own.",
        "compensate: { call: order/TakeBack, request: { order_id: saga.id } }",
        RELEASE,
    )
    yield Entry(
        "SG081",
        "A request, or a message in it, leaves out a field that every message of its type must have: validation "
        "(buf.validate) requires it, or its proto does (`required` of proto2, LEGACY_REQUIRED of editions).",
        "Set the field.",
        "compensate: { call: inventory/ReleaseStock }",
        RELEASE,
    )
    yield Entry(
        "SG082",
        "`respond.body` with a status that has no body (204, 205).",
        "Remove `body`, or answer with 200 or 201.",
        "status: 204",
        "status: 201",
    )
    yield Entry(
        "SG083",
        "The gateway keeps answers for a shorter time than a service remembers calls: a retry in between starts a new "
        "saga at the gateway, but the service knows its calls, and refuses them.",
        "Keep answers (`idempotency.retention`) for at least as long as the services' `retention`.",
        "retention: 7d",
        "retention: 30d",
        is_warning=True,
    )


def _kept() -> Iterator[Entry]:
    yield Entry(
        "SG090",
        "A file in contracts/sagas/ is not named after a saga and a version.",
        "Name it `<saga>.v<version>.yaml`, as `sagagen bump` does.",
        "contracts/sagas/return_order.yaml",
        KEPT,
        FILE_NAME,
    )
    yield Entry(
        "SG091",
        "The name of a kept file and its `version` differ.",
        "Make them equal.",
        "version: 3",
        "version: 1",
        KEPT,
    )
    yield Entry(
        "SG092",
        "A kept version is not older than the one in saga.yaml.",
        "Raise the version in saga.yaml, or delete the file.",
        "version: 1",
        "version: 2",
    )
    yield Entry(
        "SG093",
        "With `--running`: no open saga needs this older version any more.",
        "Delete its file.",
        is_warning=True,
    )


SECTIONS = (
    Section("Sagas and steps: SG060 to SG089", (*_steps(), *_undoing(), *_retries())),
    Section("Older versions of sagas: SG090 to SG099", tuple(_kept())),
)
