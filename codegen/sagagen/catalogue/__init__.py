"""Every code that checks and handler sync report: cause, example, cure. docs/diagnostics.md is made of it.

It needs nothing but itself, so that `sagagen explain` and the shell's completion answer at once.
"""

from collections.abc import Mapping

from sagagen.catalogue import expressions, files, handlers, sagas, services
from sagagen.catalogue.entry import Entry, Section

SECTIONS: tuple[Section, ...] = (
    *files.SECTIONS,
    *services.SECTIONS,
    *sagas.SECTIONS,
    *expressions.SECTIONS,
    *handlers.SECTIONS,
)
ENTRIES: Mapping[str, Entry] = {entry.code: entry for section in SECTIONS for entry in section.entries}
