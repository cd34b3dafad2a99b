"""SQLite's functions as PostgreSQL has them."""

from collections.abc import Callable, Sequence

from sagagen.sql_translation.tokens import words

SAME = words(
    """
    abs avg ceil ceiling coalesce concat concat_ws count cume_dist degrees dense_rank exp first_value floor lag
    last_value lead length ln log10 lower ltrim nth_value ntile nullif octet_length percent_rank power radians rank
    replace row_number rtrim sign sqrt substr substring sum trim trunc upper cos sin tan acos asin atan atan2 pi
    """
)
"""Those that do the same in both."""

Arguments = Sequence[str]
REWRITTEN: dict[str, Callable[[Arguments], str | None]] = {
    "ifnull": lambda a: f"coalesce({', '.join(a)})",
    "iif": lambda a: _case(a),
    "if": lambda a: _case(a),
    "instr": lambda a: f"strpos({', '.join(a)})",
    "max": lambda a: f"{'max' if len(a) == 1 else 'greatest'}({', '.join(a)})",
    "min": lambda a: f"{'min' if len(a) == 1 else 'least'}({', '.join(a)})",
    "group_concat": lambda a: _joined(a),
    "string_agg": lambda a: _joined(a),
    "total": lambda a: f"coalesce(sum({a[0]}), 0.0)" if a else None,
    "round": lambda a: _rounded(a),
    "char": lambda a: " || ".join(f"chr({each})" for each in a) if a else None,
    "unicode": lambda a: f"ascii({', '.join(a)})",
    "pow": lambda a: f"power({', '.join(a)})",
    "likely": lambda a: a[0] if a else None,
    "unlikely": lambda a: a[0] if a else None,
}

ADVICE = {
    "random": "its random() is between 0 and 1: write floor(random() * N), or draw the number in the handler",
    "randomblob": "make the bytes in the handler, or use uuid_send(gen_random_uuid())",
    "hex": "write upper(encode(bytes, 'hex')) for bytes",
    "last_insert_rowid": "use INSERT ... RETURNING",
    "changes": "`call.db.execute` returns the number of rows",
    "typeof": "its columns hold one type only: leave it out, or use pg_typeof",
    "printf": "write format() with %s, or to_char for numbers",
    "format": "its format() knows %s, %I and %L only; to_char writes numbers",
    "julianday": "write extract(epoch FROM ...) / 86400, or compare moments",
    "quote": "write quote_literal",
    "json_valid": "make the column jsonb, or on PostgreSQL 16 write `IS JSON`",
    "json_each": "write jsonb_array_elements or jsonb_each, with the column as jsonb",
    "json_array_length": "write jsonb_array_length(CAST(x AS jsonb))",
    "json_type": "write jsonb_typeof(CAST(x AS jsonb))",
    "json_object": "write jsonb_build_object",
    "json_array": "write jsonb_build_array",
    "json_group_array": "write jsonb_agg",
    "json_group_object": "write jsonb_object_agg",
    "json_set": "write jsonb_set",
    "json_insert": "write jsonb_insert",
    "json_remove": "write x #- '{path}'",
    "json": "write CAST(x AS jsonb)",
}


def advice(name: str, otherwise: str = "look for its counterpart, or do this in the handler") -> str:
    return ADVICE.get(name, otherwise)


def _case(arguments: Arguments) -> str | None:
    if len(arguments) not in (2, 3):
        return None
    otherwise = f" ELSE {arguments[2]}" if len(arguments) > 2 else ""
    return f"CASE WHEN {arguments[0]} THEN {arguments[1]}{otherwise} END"


def _joined(arguments: Arguments) -> str | None:
    if not arguments or arguments[0].upper().startswith("DISTINCT "):
        return None
    separator = arguments[1] if len(arguments) > 1 else "','"
    return f"string_agg(CAST({arguments[0]} AS TEXT), {separator})"


def _rounded(arguments: Arguments) -> str | None:
    if len(arguments) == 1:
        return f"round({arguments[0]})"
    return f"CAST(round(CAST({arguments[0]} AS NUMERIC), {arguments[1]}) AS DOUBLE PRECISION)"
