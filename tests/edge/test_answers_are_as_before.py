"""No byte of an HTTP answer has changed since answers were stored as such, and not as results of which they are made;
but for two headers that every answer has since then.

`answers/answers.json` has what was answered then, and `answers/before.sql` the log that was written. Neither is ever
written again.
"""

import json
import sqlite3
import time
from pathlib import Path

from answer_scenarios import Answers, first_answers, replays
from edge_library import served

RECORDED = Path(__file__).with_name("answers")
ANSWERS: dict[str, dict[str, Answers]] = json.loads((RECORDED / "answers.json").read_text())
FIRST = {name: answers["first"] for name, answers in ANSWERS.items()}
REPLAYED = {name: answers["replay"] for name, answers in ANSWERS.items()}


async def test_sagas_are_answered_as_before_at_first_and_ever_after(tmp_path: Path) -> None:
    assert await first_answers(tmp_path) == FIRST
    async with served(tmp_path) as running:
        assert await replays(running) == REPLAYED


async def test_a_log_that_was_written_before_is_answered_from_as_before(tmp_path: Path) -> None:
    restore(tmp_path / "saga-log.db")
    async with served(tmp_path) as running:
        assert await replays(running) == REPLAYED


def restore(path: Path) -> None:
    """The log, as if it had been written just now: keys expire."""
    now_ms = time.time_ns() // 1_000_000
    connection = sqlite3.connect(path)
    connection.executescript((RECORDED / "before.sql").read_text())
    connection.execute("UPDATE saga SET started_ms = ?, updated_ms = ?", (now_ms, now_ms))
    connection.execute("UPDATE event SET at_ms = ?", (now_ms,))
    connection.commit()
    connection.close()


async def test_the_log_holds_results_and_no_http(tmp_path: Path) -> None:
    await first_answers(tmp_path)
    connection = sqlite3.connect(tmp_path / "saga-log.db")
    stored = connection.execute("SELECT answer_headers FROM event WHERE answer_headers NOT NULL").fetchall()
    connection.close()
    kinds = [json.loads(text)["kind"] for (text,) in stored]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "SUCCEEDED": 4,
        "UNSUCCESSFUL": 3,
        "SUPERSEDED": 2,
    }
