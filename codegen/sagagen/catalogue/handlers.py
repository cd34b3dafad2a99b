"""Codes about Python: the names that generated code gives things, and the files in handlers/."""

from collections.abc import Iterator

from sagagen.catalogue.entry import Entry, Section

OLD = "contracts/shop/old/v1/old.proto"
PAYMENT = "handlers/payment.py"
REFUND = """    async def refund_payment(self, request: RefundPaymentRequest, call: Call) -> Nothing:
        return Nothing()
"""
CLASS = "class PaymentService(PaymentHandlers):"
NOTE = """What `sagagen generate` reports about the files in handlers/, which it keeps in line with the contract. A file
that cannot be brought in line is left as it is; the rest of the mesh is written."""


def _python() -> Iterator[Entry]:
    yield Entry(
        "SG140",
        "A field is encoded as a group, which the generated messages cannot read.",
        "Declare a message and a field of its type; in editions, without the DELIMITED encoding.",
        "optional group Lid = 1 {}",
        "optional Part part = 1;",
        OLD,
    )
    yield Entry(
        "SG141",
        "A message has `message_set_wire_format`.",
        "Remove the option and declare the fields.",
    )
    yield Entry(
        "SG142",
        "A field has exactly the name of something that every message of google.protobuf has, such as `Clear` or "
        "`DESCRIPTOR`, and hides it: no JSON could be read into such a message.",
        "Give the field another name. What is encoded has only its number.",
        "optional Part DESCRIPTOR = 1;",
        "optional Part part = 1;",
        OLD,
        beside=("SG002",),
    )


def _in_the_way() -> Iterator[Entry]:
    yield Entry(
        "SG167",
        "What should be a handler file is something else: a folder, a package of that name, or a file that may not be "
        "written.",
        "Move the folder or the package away, or let the file be written: `chmod u+w`.",
    )


def _handlers() -> Iterator[Entry]:
    yield Entry(
        "SG160",
        "The file is not valid Python, or is not in the encoding that it declares.",
        "Fix the line that the message names.",
        "async de charge_payment",
        "async def charge_payment",
        PAYMENT,
    )
    yield Entry(
        "SG161",
        "The class that the mesh loads is not in the file; it may have been renamed.",
        "Give the class its name back, or add `PaymentService = Payments` below it.",
        "class Payments(PaymentHandlers):",
        CLASS,
        PAYMENT,
    )
    yield Entry(
        "SG162",
        "A method is missing, but the class has bases from other files, which may define it. Nothing was added.",
        "Write the method, in the base or here.",
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
        "A method handles an rpc that the contract no longer has.",
        "Remove it, or move its code to where the contract now wants it.",
        f"{REFUND}\n{REFUND.replace('refund_payment', 'refund_all')}",
        REFUND,
        PAYMENT,
        is_warning=True,
    )
    yield Entry(
        "SG164",
        "The file imports a message that the contract no longer has.",
        "Use what the contract has instead, and remove the import.",
        "Nothing, RefundPaymentRequest, RefundTicket",
        "Nothing, RefundPaymentRequest",
        PAYMENT,
    )
    yield Entry(
        "SG165",
        "The edited file would have differed from the old one in more than was intended, so it was not written.",
        "Bring the named methods in line by hand.",
    )
    yield Entry(
        "SG166",
        "The code names a field that its message lacks, or a value that its enum lacks: it would fail when it runs.",
        "Write what the contract says; after a rename the message names it. `# type: ignore` silences a line.",
        "        return ChargePaymentResponse(receipt=request.order_id)",
        "        return ChargePaymentResponse()",
        PAYMENT,
    )


SECTIONS = (
    Section("Names in Python: SG140 to SG159", tuple(_python())),
    Section("Handlers: SG160 to SG169", (*_handlers(), *_in_the_way()), NOTE),
)
