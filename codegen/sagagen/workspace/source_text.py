"""A file as text that can be spliced and written back without changing any other byte.

Offsets count characters of `text`. Line ends stay what they are: CRLF, LF, CR, or a mixture.
"""

import bisect
import codecs
import io
import re
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

NEWLINE = re.compile(r"\r\n|\n|\r")


class Unreadable(Exception):
    """The bytes are not text in the encoding that they declare."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """`text` in place of [start, end); an insertion if the two are the same."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class SourceText:
    """The text of a file, without its byte order mark, and how to write it again."""

    text: str
    encoding: str
    mark: bytes
    """The byte order mark, or nothing."""

    @staticmethod
    def read(content: bytes) -> "SourceText":
        """Raises Unreadable if the bytes do not fit their coding line (or UTF-8)."""
        mark = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
        body = content[len(mark) :]
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(body).readline)
            text = body.decode(encoding)
        except UnicodeDecodeError as error:
            line = len(NEWLINE.findall(body[: error.start].decode("latin-1"))) + 1
            raise Unreadable(f"is not {error.encoding}: {error.reason}", line) from None
        except SyntaxError as error:
            raise Unreadable(str(error.msg)) from None
        return SourceText(text, encoding, mark)

    @staticmethod
    def read_utf8(content: bytes) -> "SourceText":
        """A file that is not Python and has no coding line. Raises Unreadable if the bytes are not UTF-8."""
        mark = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
        try:
            return SourceText(content[len(mark) :].decode("utf-8"), "utf-8", mark)
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start + len(mark)) + 1
            raise Unreadable(f"is not UTF-8: {error.reason}", line) from None

    def write(self) -> bytes:
        """The bytes. Characters of an inserted docstring that the file's encoding lacks are written as escapes."""
        return self.mark + self.text.encode(self.encoding, "backslashreplace")

    def spliced(self, edits: Iterable[Edit]) -> "SourceText":
        """With all edits made at once. Edits may not overlap; insertions at one place keep their order."""
        parts: list[str] = []
        at = 0
        for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
            if edit.start < at:
                raise ValueError(f"edits overlap at {edit.start}")
            parts += [self.text[at : edit.start], edit.text]
            at = edit.end
        return SourceText("".join([*parts, self.text[at:]]), self.encoding, self.mark)

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in NEWLINE.finditer(self.text))]

    def offset(self, line: int, column: int) -> int:
        """`line` from 1, `column` from 0."""
        return self._line_starts[line - 1] + column

    def line(self, offset: int) -> int:
        """From 1."""
        return bisect.bisect_right(self._line_starts, offset)

    def line_start(self, offset: int) -> int:
        return self._line_starts[self.line(offset) - 1]

    def line_end(self, offset: int) -> int:
        """Where the line's newline begins, or the end of the text."""
        match = NEWLINE.search(self.text, offset)
        return match.start() if match else len(self.text)

    def next_line(self, offset: int) -> int:
        """Where the next line begins; the end of the text on the last."""
        match = NEWLINE.search(self.text, offset)
        return match.end() if match else len(self.text)

    def ends_line(self, offset: int) -> bool:
        """Whether the line at `offset` has a newline at all."""
        return NEWLINE.search(self.text, offset) is not None

    def newline(self, offset: int) -> str:
        """The newline to use here: that of this line, otherwise that of the file's first line."""
        match = NEWLINE.search(self.text, self.line_start(offset)) or NEWLINE.search(self.text)
        return match.group() if match else "\n"

    def indentation(self, offset: int) -> str:
        """The white space that the line at `offset` begins with."""
        start = self.line_start(offset)
        line = self.text[start : self.line_end(start)]
        return line[: len(line) - len(line.lstrip(" \t\f"))]

    def is_first_on_line(self, offset: int) -> bool:
        return not self.text[self.line_start(offset) : offset].strip()
