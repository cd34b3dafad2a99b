"""The SQL files of a service for PostgreSQL, beside those for SQLite that they are drafted from."""

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sagagen.sql_translation.catalog import Catalog
from sagagen.sql_translation.draft import Mark, NotSqlite, draft, marks_of
from sagagen.sql_translation.statements_of_handlers import Warned, warnings_of


class CannotDraft(Exception):
    """A file can't be read as SQL of SQLite; the message names it and the place."""


@dataclass(frozen=True, slots=True)
class DraftedFile:
    source: Path
    path: Path
    text: str
    is_there: bool
    """A file of this name exists already, whatever is in it."""

    def marks(self, *, overwrites: bool) -> Sequence[Mark]:
        """What is left to do, in the file that is there and stays, or else in the draft."""
        is_kept = self.is_there and not overwrites
        return marks_of(self.path.read_text("utf-8") if is_kept else self.text)


@dataclass(frozen=True, slots=True)
class StoreFiles:
    files: Sequence[DraftedFile]
    """The base file first, then numbered changes."""
    warnings: Sequence[tuple[Path, Warned]]
    """About the statements of handlers."""


def store_files(base: Path) -> StoreFiles:
    """`base` is `handlers/order.sql`; the handlers are `order.py`, or the files of a package `order`.

    Raises CannotDraft.
    """
    with closing(Catalog()) as catalog:
        files = [_drafted(source, base.stem, catalog) for source in _sources(base)]
        found = [(path, each) for path in _handlers(base) for each in _warnings(path, catalog)]
    return StoreFiles(files, found)


def _sources(base: Path) -> list[Path]:
    numbered = re.compile(re.escape(base.stem) + r"\.(\d+)\.sql")
    changes = {
        int(found[1]): file for file in base.parent.glob("*.sql") if (found := numbered.fullmatch(file.name))
    }
    return [*([base] if base.exists() else []), *(changes[number] for number in sorted(changes))]


def _drafted(source: Path, stem: str, catalog: Catalog) -> DraftedFile:
    try:
        text = draft(source.read_text("utf-8"), catalog)
    except NotSqlite as why:
        raise CannotDraft(f"{source}:{why.line}: SQLite refuses this statement: {why}") from why
    except UnicodeDecodeError as error:
        raise CannotDraft(f"{source} is not UTF-8: byte {error.start} can't be read") from error
    path = source.with_name(f"{stem}.postgres{source.name.removeprefix(stem)}")
    return DraftedFile(source, path, text, path.exists())


def _handlers(base: Path) -> list[Path]:
    module = base.with_suffix(".py")
    return ([module] if module.exists() else []) + sorted(base.with_suffix("").rglob("*.py"))


def _warnings(path: Path, catalog: Catalog) -> Sequence[Warned]:
    try:
        return warnings_of(path.read_text("utf-8"), catalog)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise CannotDraft(f"{path} can't be read as Python: {error}") from error
