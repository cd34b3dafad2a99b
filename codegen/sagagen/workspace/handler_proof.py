"""Proof that an edited handler file has lost nothing. Parses both versions with Python's own parser."""

import ast
from collections.abc import Collection, Iterator


def proves(before: str, after: str, class_name: str, added: Collection[str]) -> bool:
    """Whether `after` differs from `before` only in the methods `added` to the class, annotations and imports.

    Annotations of the class's methods and the imports at the top are left out of the comparison; every other
    statement must be there, equal and in order.
    """
    try:
        old, new = ast.parse(before), ast.parse(after)
    except (SyntaxError, ValueError):
        return False
    return list(_statements(old, class_name, ())) == list(_statements(new, class_name, added))


def _statements(module: ast.Module, class_name: str, added: Collection[str]) -> Iterator[str]:
    for node in module.body:
        if isinstance(node, ast.ImportFrom):
            continue
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            node.body = [member for member in node.body if not _is_added(member, added)]
            for member in node.body:
                _forget_annotations(member)
        yield ast.dump(node)


def _is_added(member: ast.stmt, added: Collection[str]) -> bool:
    return isinstance(member, ast.AsyncFunctionDef) and member.name in added


def _forget_annotations(member: ast.stmt) -> None:
    if isinstance(member, ast.AsyncFunctionDef | ast.FunctionDef):
        member.returns = None
        for argument in (*member.args.posonlyargs, *member.args.args):
            argument.annotation = None
