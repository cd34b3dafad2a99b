"""A mapping of saga.yaml with known keys, as pydantic reads it; the base of every shape."""

from collections.abc import Iterable
from typing import Any, ClassVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from sagagen.contract.codes import Code
from sagagen.contract.findings import error
from sagagen.contract.located import Block, Key, Located, text_scalar
from sagagen.diagnostics import Report, did_you_mean

Word = Located[str]
Whole = Located[int]
REQUEST = "Fields of the request message, as expressions; or one expression for the whole message."


def optional(description: str, default: Any = None, *, example: Any = None, alias: str | None = None) -> Any:
    """An optional key. `default` applies without it: editors show it, and the code that reads the shape fills it in."""
    extra: dict[str, Any] = {"default": default} if default is not None else {}
    return Field(
        default=None,
        alias=alias,
        description=description,
        json_schema_extra=extra,
        examples=None if example is None else [example],
    )


class Shape(BaseModel):
    """A mapping with known keys. Validate it with a `Report` as context: unknown keys go there."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    elsewhere: ClassVar[dict[str, str]] = {}
    """Keys that belong to something similar -> what to do about one that stands here."""
    what: ClassVar[str] = ""
    """What such a key is told that it does not belong to: `a wait`."""

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        """As they are written."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())

    @model_validator(mode="before")
    @classmethod
    def _report_unknown_keys(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, Block):
            report = cast(Report, info.context)
            for key in [key for key in value if key not in cls.known_keys()]:
                if key in cls.elsewhere:
                    cls._leave_out(value, key, report)
                else:
                    _settle_unknown_key(value, key, cls.known_keys(), report)
        return value

    @classmethod
    def _leave_out(cls, block: Block, key: str, report: Report) -> None:
        assert isinstance(key, Key)
        report(error(key.span, Code.KEY_NOT_TAKEN, f'{cls.what} has no "{key}"', cls.elsewhere[key]))
        del block[key]


def _settle_unknown_key(block: Block, key: str, known: Iterable[str], report: Report) -> None:
    """Go on as if the near miss had been spelled right, so that it hides no mistake and causes no other."""
    assert isinstance(key, Key)
    missing = [name for name in known if name not in block]
    close = did_you_mean(key, missing)
    meant = next((name for name in missing if close == f'did you mean "{name}"?'), None)
    hint = close if meant is not None else f"remove it; the keys here are {', '.join(known)}"
    report(error(key.span, Code.UNKNOWN_KEY, f'there is no key "{key}" here', hint))
    value = block.pop(key)
    if meant is not None:
        block[Key(text_scalar(meant, key.span))] = value
