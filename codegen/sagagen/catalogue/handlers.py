"""Codes about the Python side: what names become, and the files in handlers/."""

from collections.abc import Iterator

from sagagen.catalogue.entry import Entry, Section

OLD = "contracts/shop/old/v1/old.proto"
PAYMENT = "handlers/payment.py"
REFUND = """    async def refund_payment(self, request: RefundPaymentRequest, call: Call) -> Nothing:
        return Nothing()
"""
CLASS = "class PaymentService(PaymentHandlers):"
NOTE = """What `sagagen generate` says of the files in handlers/, which it keeps in line with the contract. None of them
is written where one of the errors below stands; the rest of the mesh is."""


def _python() -> Iterator[Entry]:
    yield Entry(
        "SG140",
        "A field is encoded as a group, which the generated messages cannot read.",
        "Declare a message and a field of its type; in editions without DELIMITED encoding.",
        "optional group Lid = 1 {}",
        "optional Part part = 1;",
        OLD,
    )
    yield Entry(
        "SG141",
        "A message has `message_set_wire_format`.",
        "Remove the option and declare the fields.",
    )


def _handlers() -> Iterator[Entry]:
    yield Entry(
        "SG160",
        "The file is no Python, or not in the encoding that it claims.",
        "Mend the line that is named.",
        "async de charge_payment",
        "async def charge_payment",
        PAYMENT,
    )
    yield Entry(
        "SG161",
        "The class that the mesh loads is not in the file; perhaps it was renamed.",
        "Give the class its name back, or add `PaymentService = Payments` below it.",
        "class Payments(PaymentHandlers):",
        CLASS,
        PAYMENT,
    )
    yield Entry(
        "SG162",
        "A method is missing, and the class has bases from other files, which may have it. Nothing was added.",
        "Write the method, there or here.",
        "class PaymentService(Refunds, PaymentHandlers):",
        CLASS,
        PAYMENT,
        is_warning=True,
        also=(
            (PAYMENT, REFUND, ""),
            (PAYMENT, "from sagagen.runtime", "from refunds import Refunds\nfrom sagagen.runtime"),
        ),
    )
    yield Entry(
        "SG163",
        "A method handles no rpc of the contract any more.",
        "Remove it, or move what it does to where the contract wants it now.",
        f"{REFUND}\n{REFUND.replace('refund_payment', 'refund_all')}",
        REFUND,
        PAYMENT,
        is_warning=True,
    )
    yield Entry(
        "SG164",
        "The file imports a message that the contract no longer has.",
        "Use what the contract has in its place, and remove the import.",
        "Nothing, RefundPaymentRequest, RefundTicket",
        "Nothing, RefundPaymentRequest",
        PAYMENT,
    )
    yield Entry(
        "SG165",
        "What would have been written did not say the same as before, the changes that were meant apart.",
        "Bring the methods that are named in line by hand.",
    )


SECTIONS = (
    Section("Names in Python: SG140 to SG159", tuple(_python())),
    Section("Handlers: SG160 to SG169", tuple(_handlers()), NOTE),
)
