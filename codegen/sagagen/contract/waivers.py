"""Findings of the contract diff that are accepted for a while."""

import datetime
from collections.abc import Iterator, Sequence

from sagagen.contract.codes import Code
from sagagen.contract.findings import error
from sagagen.contract.model import Waiver
from sagagen.contract.shape import WaiverShape
from sagagen.diagnostics import Report


def resolve_waivers(shapes: Sequence[WaiverShape] | None, report: Report) -> Iterator[Waiver]:
    for shape in shapes or ():
        try:
            until = datetime.date.fromisoformat(shape.until.value)
        except ValueError:
            message = f'"{shape.until.value}" is not a date'
            hint = "write year, month and day: 2026-12-31"
            report(error(shape.until.span, Code.NOT_A_DATE, message, hint))
            continue
        yield Waiver(
            rule=shape.rule.value,
            at=shape.at.value if shape.at else "",
            reason=shape.reason.value,
            until=until,
            span=shape.rule.span,
        )
