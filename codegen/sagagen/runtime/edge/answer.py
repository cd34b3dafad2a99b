"""An HTTP answer, whoever made it: an endpoint, a problem document, or a saga's result."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body, as they leave."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """Empty if there is none; `name` in lower case."""
        return next((value for each, value in self.headers if each == name), "")
