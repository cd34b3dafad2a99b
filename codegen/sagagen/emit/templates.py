"""Prints views through the templates beside this module. They hold layout; a name missing in a view is an error."""

import dataclasses
import functools
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from jinja2.bccache import Bucket

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def render_template(name: str, view: "DataclassInstance") -> str:
    """The template `name` with the fields of `view`. Raises jinja2.UndefinedError for a name that the view lacks."""
    fields = {field.name: getattr(view, field.name) for field in dataclasses.fields(view)}
    return _environment().get_template(name).render(fields)


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("sagagen.emit"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        bytecode_cache=_BesideOurs(str(Path(__file__).with_name("__pycache__")), "template.%s.jinja"),
    )


class _BesideOurs(jinja2.FileSystemBytecodeCache):
    """Compiled templates are kept where Python keeps its bytecode, if that can be written."""

    def dump_bytecode(self, bucket: Bucket) -> None:
        if not sys.dont_write_bytecode:
            with suppress(OSError):
                super().dump_bytecode(bucket)
