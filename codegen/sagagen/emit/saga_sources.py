"""Pieces of Python from which the definition of a saga is made."""

from sagagen.runtime.model.definition import RETRIED_BY_DEFAULT, Retry


def made(constructor: str, /, **arguments: str | None) -> str:
    """`Name(argument=value, ...,)`, without arguments that are None. The last comma spreads it over lines."""
    said = ", ".join(f"{argument}={value}" for argument, value in arguments.items() if value is not None)
    return f"{constructor}({said},)"


def listed(sources: list[str]) -> str:
    """A tuple."""
    return f"({', '.join(sources)},)"


def seconds(value: float | None) -> str | None:
    return None if value is None else repr(float(value))


def retry_source(retry: Retry) -> str:
    """`Retry(initial_s=0.05, ...)`, without what is the default."""
    arguments = [
        f"initial_s={float(retry.initial_s)!r}",
        f"multiplier={float(retry.multiplier)!r}",
        f"max_s={float(retry.max_s)!r}",
    ]
    if retry.max_attempts is not None:
        arguments.append(f"max_attempts={retry.max_attempts}")
    if retry.give_up_after_s is not None:
        arguments.append(f"give_up_after_s={float(retry.give_up_after_s)!r}")
    if retry.codes != RETRIED_BY_DEFAULT:
        codes = ", ".join(f"Code.{code.name}" for code in sorted(retry.codes, key=lambda code: code.value))
        arguments.append(f"codes=frozenset({{{codes}}})" if codes else "codes=frozenset[Code]()")
    return f"Retry({', '.join(arguments)})"
