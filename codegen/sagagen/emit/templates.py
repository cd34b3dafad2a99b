"""Prints views through the templates beside this module. They hold layout; what a view lacks is an error."""

import dataclasses
import functools
from typing import TYPE_CHECKING

import jinja2

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
    )
