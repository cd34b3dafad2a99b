"""Every code that the checks and handler sync report: cause, example and fix. docs/diagnostics.md is its printout.

It imports nothing else of the generator, so that `sagagen explain` and shell completion answer at once.
"""

from collections.abc import Mapping

from sagagen.catalogue import elements, expressions, files, handlers, sagas, security, services
from sagagen.catalogue.entry import Entry, Section

SECTIONS: tuple[Section, ...] = (
    *files.SECTIONS,
    *services.SECTIONS,
    *sagas.SECTIONS,
    *elements.SECTIONS,
    *security.SECTIONS,
    *expressions.SECTIONS,
    *handlers.SECTIONS,
)
ENTRIES: Mapping[str, Entry] = {entry.code: entry for section in SECTIONS for entry in section.entries}
