"""Expressions of the contract: a subset of CEL, checked against the protos and emitted as plain typed Python.

`compile_message` turns the YAML of a request into a `MessageExpr`, or reports why it can't; `render_function` writes
the Python function that builds the message. The other `compile_...` and `render_value` do the same for single values:
conditions, keys, lists, times. Nothing interprets an expression at run time, and nothing here knows
about sagas, files or saga.yaml beyond the places of its values.
"""

from sagagen.expression.environment import Environment, TypeIndex
from sagagen.expression.guards import guards
from sagagen.expression.locals import RESERVED as RESERVED_NAMES
from sagagen.expression.render import RenderedFunction, render_access, render_function, render_value
from sagagen.expression.request import MessageExpr, compile_message
from sagagen.expression.roots import variable_problem
from sagagen.expression.value import (
    ListExpr,
    ValueExpr,
    compile_condition,
    compile_duration,
    compile_index,
    compile_key,
    compile_list,
    compile_text,
    compile_time,
    reads_response,
)

__all__ = [
    "RESERVED_NAMES",
    "Environment",
    "ListExpr",
    "MessageExpr",
    "RenderedFunction",
    "TypeIndex",
    "ValueExpr",
    "compile_condition",
    "compile_duration",
    "compile_index",
    "compile_key",
    "compile_list",
    "compile_message",
    "compile_text",
    "compile_time",
    "guards",
    "reads_response",
    "render_access",
    "render_function",
    "render_value",
    "variable_problem",
]
