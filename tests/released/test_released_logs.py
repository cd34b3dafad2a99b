"""A log and its services' databases, as each released schema left them, are opened, shown and finished.

`schema_N/` has the text of files that a release with schema N of the log wrote (record.py), at one moment and with
sagas in every state. Nothing in it is ever edited; digests.txt sees to that.
"""

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from finishing import (
    REFUSED,
    Finished,
    ask_again,
    come_to_rest,
    help_out,
    log_of,
    restored,
    saga_id_of,
    show_at_rest,
)
from journey_effects import NOTHING, WHOLE, effects_of_all, left
from journey_project import ANOTHER_MEANING, HASTY, PATIENT, REMEMBERING, SERVICES, change, generate, sagagen
from released_set import CORPUS, LOG, ReleasedSet, Rows, released_sets
from thorough import chosen

from sagagen.runtime.log.records import KINDS
from sagagen.runtime.log.schema import MIGRATIONS
from sagagen.runtime.saga.events import SagaStatus

pytestmark = pytest.mark.slow

SETS = released_sets()
NEWEST = max(MIGRATIONS)
LATER = 1000
"""A version that no program of today knows."""
ACTIVE = ("RUNNING", "COMPENSATING")
WAITS = "running: waits for version 2"
TURN_BACK = ("cancelled: not acted on yet", "refused by hand: not acted on yet")
NOT_WRITTEN = "stuck: the answer is not written"
"""JSON can't express it. That stopped the saga itself, once; now it is the edge's alone to say."""

HELP: Mapping[str, list[tuple[str, str]]] = {
    "stuck: hold_seat is not undone": [("retry", "COMPENSATED")],
    "stuck: charge_card is not undone": [("retry", "COMPENSATED")],
    "stuck: the ticket is not sent": [("retry", "COMPLETED")],
    "stuck: another payload after a restore": [("retry", "STUCK"), ("cancel", "COMPENSATED")],
    NOT_WRITTEN: [("retry", "COMPLETED")],
    "stuck: the action is forgotten": [("cancel", "STUCK"), ("retry", "STUCK"), ("resolve", "COMPENSATED")],
    "stuck: the compensation is forgotten": [("retry", "STUCK"), ("resolve", "COMPENSATED")],
    "stuck: another run at the mail": [("retry", "STUCK"), ("cancel", REFUSED), ("resolve", "COMPLETED")],
    "stuck: the request after the pivot is not built": [("retry", REFUSED), ("skip", "COMPLETED")],
    "held: charge_card fails": [("retry", "COMPLETED")],
    "held: the pivot is in doubt": [("cancel", REFUSED), ("retry", "COMPLETED")],
    "held: hold_seat is not undone": [("retry", "COMPENSATED")],
    "held: not acted on yet": [("cancel", "COMPENSATED")],
}
"""What an operator does about each saga that is stuck, and where it stands then."""

BEFORE_PIVOT = {"book_trip": "charge_card", "gather_points": "add_points", "send_greeting": None}
"""Once this step is done, the pivot is in doubt."""

SINCE: Mapping[int, set[str]] = {
    2: {"RETRIED", "RESOLVED", "CANCELLED"},
    5: {"HELD", "DONE_BY_HAND", "REFUSED_BY_HAND", "GAVE_UP"},
    6: {"PLANNED", "LOOP", "SKIPPED", "TIMED_OUT", "EVENT"},
}
"""Kinds of rows that came later than the first schema, by the schema that brought them."""
SETTLED_BY_HAND = {"DONE_BY_HAND", "GAVE_UP"}
SAID = {"DONE_BY_HAND": "resolved as done", "REFUSED_BY_HAND": "resolved as refused", "GAVE_UP": "skipped"}
"""What an operator is shown to have done, where it is not the kind of the row."""

REFUSALS = {"OTHER_RUN", "STEP_COMPENSATED", "PAYLOAD_MISMATCH", "FORGOTTEN"}
"""Of a barrier."""

each_set = pytest.mark.parametrize("released", SETS, ids=lambda each: each.folder.name)


@pytest.fixture(scope="module")
def patient_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No deadline and no budget has passed, however old a log is."""
    root = tmp_path_factory.mktemp("patient") / "journey"
    generate(root, PATIENT)
    return root


@pytest.fixture(scope="module")
def hasty_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every deadline and every budget has passed. It has version 2, and keeps version 1 beside it."""
    root = tmp_path_factory.mktemp("hasty") / "journey"
    generate(root, {**HASTY, **REMEMBERING})
    sagagen("bump", "book_trip", "--project", str(root))
    change(root, ANOTHER_MEANING)
    return root


@pytest.fixture(
    scope="module", params=chosen([SETS[0], *reversed(SETS[1:])], first=2), ids=lambda each: each.folder.name
)
def finished(
    request: pytest.FixtureRequest, patient_project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Finished]:
    """A set that was shown at rest, resumed, helped by an operator, and asked for every answer again."""
    with restored(request.param, patient_project, tmp_path_factory.mktemp("finished")) as it:
        it.shown = show_at_rest(it.stack)
        it.stack.start("up")
        it.resumed = come_to_rest(it.stack, but=WAITS)
        for key in sorted(key for key, status in it.resumed.items() if status == "STUCK"):
            it.helped[key] = help_out(it.stack, key, [act for act, _ in HELP.get(key, [])], but=WAITS)
        it.ended = come_to_rest(it.stack, but=WAITS)
        it.answers = ask_again(it.stack, it.released.requests)
        it.stack.terminate("up")
        yield it


@pytest.fixture(
    scope="module", params=chosen([SETS[0], *reversed(SETS[1:])], first=1), ids=lambda each: each.folder.name
)
def late(
    request: pytest.FixtureRequest, hasty_project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Finished]:
    """A set that was resumed when all its deadlines and budgets had passed."""
    with restored(request.param, hasty_project, tmp_path_factory.mktemp("late")) as it:
        it.stack.start("up")
        it.resumed = come_to_rest(it.stack)
        it.ended = come_to_rest(it.stack)
        it.stack.terminate("up")
        yield it


# -- the corpus itself ----------------------------------------------------------------------------------------------


def test_no_file_of_the_corpus_was_edited() -> None:
    lines = (CORPUS / "digests.txt").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split() for line in lines)}
    files = {str(file.relative_to(CORPUS)): file for file in CORPUS.glob("schema_*/*")}
    assert {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()} == listed


def test_every_schema_before_the_newest_has_a_set() -> None:
    recorded = {released.schema_version for released in SETS}
    assert recorded >= set(range(1, NEWEST)), "record.py says how to record one"


@each_set
def test_a_set_is_of_the_schema_that_its_folder_names(released: ReleasedSet) -> None:
    assert released.texts[LOG].startswith(f"PRAGMA user_version = {released.schema_version};")


@each_set
def test_a_set_has_every_kind_of_row_that_its_schema_knew(released: ReleasedSet) -> None:
    later = {kind for schema, kinds in SINCE.items() if schema > released.schema_version for kind in kinds}
    assert {event["kind"] for event in released.events} == set(KINDS.values()) - later


def test_the_sets_have_every_state_that_there_is() -> None:
    events = [event for released in SETS for event in released.events]
    rows = [row for released in SETS for service in SERVICES for row in released.barrier(service)]
    assert {saga["status"] for released in SETS for saga in released.sagas} == set(SagaStatus)
    assert {event["outcome"] for event in events if event["kind"] in ("FAILED", "TURNED_BACK")} == {
        "REFUSED",
        "DOUBT",
        "NOT_CALLED",
    }
    assert {event["reason"] for event in events if event["kind"] == "FAILED"} >= REFUSALS
    assert {(row["direction"], row["state"]) for row in rows} == {
        *(("action", state) for state in ("DONE", "REFUSED", "PENDING")),
        *(("compensation", state) for state in ("DONE", "EMPTY", "PENDING")),
    }
    assert any(row["saga"].startswith("direct:") for row in rows)
    assert any(released.meta(service)["purged_through_ms"] for released in SETS for service in SERVICES)


# -- shown ----------------------------------------------------------------------------------------------------------


def test_every_saga_is_listed_as_it_stands(finished: Finished) -> None:
    code, listed = finished.shown["list"]
    assert code == 0, listed
    found = {
        saga["id"]: (saga["saga"], saga["version"], saga["status"]) for saga in json.loads(listed)["sagas"]
    }
    assert found == {
        saga["saga_id"]: (saga["name"], saga["version"], saga["status"]) for saga in finished.released.sagas
    }


def test_every_saga_is_shown_with_what_happened_to_it(finished: Finished) -> None:
    for saga in finished.released.sagas:
        code, text = finished.shown["sagas"][saga["saga_id"]]
        assert code == 0, text
        assert text.startswith(f"{saga['name']} v{saga['version']} {saga['saga_id']}: {saga['status']}\n")
        for event in finished.released.events_of(saga["number"]):
            if event["kind"] == "DONE":
                assert f"\n{event['step']} " in text
            if event["kind"] == "FAILED" and saga["idempotency_key"] != WAITS:  # its other steps are unknown
                assert f"\n{event['step']} " in text
            if event.get("operator"):
                kind = event["kind"]
                act = f"{event['operator']} {SAID.get(kind, kind.lower())}"
                assert act in text
                assert event["note"] in text


def test_a_saga_whose_version_is_missing_says_what_it_waits_for(finished: Finished) -> None:
    (saga,) = [saga for saga in finished.released.sagas if saga["idempotency_key"] == WAITS]
    _, text = finished.shown["sagas"][saga["saga_id"]]
    assert "book_trip version 2" in text
    assert finished.ended[WAITS] == "RUNNING"


# -- finished -------------------------------------------------------------------------------------------------------


def end_of(saga: Mapping[str, Any]) -> str:
    """Where an active saga ends if nothing goes wrong any more."""
    turns_back = saga["status"] == "COMPENSATING" or saga["idempotency_key"] in TURN_BACK
    return "COMPENSATED" if turns_back else "COMPLETED"


def test_every_saga_that_was_active_ends(finished: Finished) -> None:
    for saga in finished.released.sagas:
        key, status = saga["idempotency_key"], saga["status"]
        if status in ACTIVE and key != WAITS:
            assert (key, finished.resumed[key]) == (key, end_of(saga))


def test_what_was_over_or_stuck_stays_so(finished: Finished) -> None:
    for saga in finished.released.sagas:
        if saga["status"] not in ACTIVE:
            key = saga["idempotency_key"]
            assert (key, finished.resumed[key]) == (key, saga["status"])


def test_an_operator_ends_what_can_be_ended_of_the_stuck_ones(finished: Finished) -> None:
    stuck = {saga["idempotency_key"] for saga in finished.released.sagas if saga["status"] == "STUCK"}
    assert finished.helped == {key: HELP[key] for key in stuck}


def test_every_answer_is_repeated_as_it_was(finished: Finished) -> None:
    answered = [each for each in finished.released.requests if "status" in each]
    assert answered
    for each in answered:
        again = finished.answers[each["key"]]
        assert (each["key"], again.status_code, again.text) == (each["key"], each["status"], each["answer"])
        assert again.headers["idempotency-replayed"] == "true"


def test_what_had_no_answer_yet_has_one_once_it_ended(finished: Finished) -> None:
    without = [each for each in finished.released.requests if "status" not in each and each["key"] != WAITS]
    assert without
    statuses = {each["key"]: finished.answers[each["key"]].status_code for each in without}
    if NOT_WRITTEN in statuses:
        assert statuses.pop(NOT_WRITTEN) == 500
    for key, status in statuses.items():
        assert (key, status < 300) == (key, finished.ended[key] == "COMPLETED")


def test_all_of_a_saga_took_effect_or_none_of_it(finished: Finished) -> None:
    assert_effects(finished)


def assert_effects(it: Finished) -> None:
    effects = effects_of_all(it.stack)
    rows = it.stack.rows(LOG, "SELECT saga, kind FROM event")
    resolved = {row["saga"] for row in rows if row["kind"] == "RESOLVED"}
    settled = {row["saga"] for row in rows if row["kind"] in SETTLED_BY_HAND}
    for saga in it.released.sagas:
        key, found = saga["idempotency_key"], effects.get(saga["saga_id"], NOTHING)
        if it.ended[key] in ("COMPLETED", "SUPERSEDED"):  # then they are those of the other run
            # Of a letter an operator said that it was sent, or left it out: nobody has sent it here.
            rest = replace(found, is_sent=True) if saga["number"] in settled else found
            assert (key, rest) == (key, WHOLE[saga["name"]])
        if it.ended[key] == "COMPENSATED":
            # An operator resolved the release of a seat by word only; nobody has released it here.
            rest = replace(left(found), is_held=False) if saga["number"] in resolved else left(found)
            assert (key, rest) == (key, NOTHING)


# -- kept -----------------------------------------------------------------------------------------------------------


def today(it: Finished, database: str, table: str, like: Rows) -> Rows:
    """All rows of a table, with the columns that it had."""
    return [dict(row) for row in it.stack.rows(database, f"SELECT {', '.join(like[0])} FROM {table}")]


def test_the_log_is_brought_to_the_newest_schema(finished: Finished) -> None:
    (version,) = finished.stack.rows(LOG, "PRAGMA user_version")
    assert version[0] == NEWEST


def test_every_row_of_the_log_stays_as_it_was_written(finished: Finished) -> None:
    before = finished.released.events
    after = today(finished, LOG, "event", before)
    assert after[: len(before)] == before
    assert len(after) > len(before), "what followed is appended"


def test_sagas_that_were_over_are_not_touched(finished: Finished) -> None:
    before = finished.released.sagas
    after = today(finished, LOG, "saga", before)
    assert [saga["saga_id"] for saga in after] == [saga["saga_id"] for saga in before]
    over = {"COMPLETED", "COMPENSATED", "SUPERSEDED"}
    assert [now for now, then in zip(after, before, strict=True) if then["status"] in over] == [
        then for then in before if then["status"] in over
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_has_recorded_stays_recorded(finished: Finished, service: str) -> None:
    before = finished.released.barrier(service)
    after = today(finished, service, "sagagen_barrier", before)
    lost = [row for row in before if row["state"] != "PENDING" and row not in after]
    assert not lost
    keys = {(row["saga"], row["step"], row["direction"]) for row in after}
    assert keys >= {(row["saga"], row["step"], row["direction"]) for row in before}


def test_a_manual_call_stays_pending_only_where_it_is_undone(finished: Finished) -> None:
    rows = today(finished, "bank", "sagagen_barrier", finished.released.barrier("bank"))
    # Called before its log was restored from a backup: the saga of today does not know of it.
    lost = (saga_id_of(finished.stack, "stuck: another payload after a restore"), "charge_card")
    pending = [row for row in rows if row["state"] == "PENDING"]
    undone = {(row["saga"], row["step"]) for row in rows if row["direction"] == "compensation"}
    assert {row["direction"] for row in pending} <= {"action"}
    assert {(row["saga"], row["step"]) for row in pending} - undone <= {lost}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_knows_itself_and_what_it_forgot(finished: Finished, service: str) -> None:
    before = {**finished.released.meta(service)}
    before.pop("epoch", None)
    rows = finished.stack.rows(service, "SELECT name, value FROM sagagen_meta")
    after = {row["name"]: row["value"] for row in rows}
    assert {name: after[name] for name in before} == before


# -- found late -----------------------------------------------------------------------------------------------------


def late_end_of(released: ReleasedSet, saga: Mapping[str, Any]) -> str:
    """Where an active saga ends after its deadline: only one whose pivot may be done goes forward."""
    if end_of(saga) == "COMPENSATED":
        return "COMPENSATED"
    done = {event["step"] for event in released.events_of(saga["number"]) if event["kind"] == "DONE"}
    before_pivot = BEFORE_PIVOT[saga["name"]]
    return "COMPLETED" if before_pivot is None or before_pivot in done else "COMPENSATED"


def test_after_its_deadline_every_saga_ends_and_none_is_stuck_without_one_more_attempt(
    late: Finished,
) -> None:
    for saga in late.released.sagas:
        key, status = saga["idempotency_key"], saga["status"]
        if status not in ACTIVE:
            assert (key, late.ended[key]) == (key, status)
            continue
        end = late_end_of(late.released, saga)
        assert (key, late.resumed[key]) == (key, end)
        assert (key, late.ended[key]) == (key, end)


def test_after_its_deadline_it_is_all_or_nothing_too(late: Finished) -> None:
    assert_effects(late)


# -- written by a later version -------------------------------------------------------------------------------------


def written_later(database: Path, sql: str) -> bytes:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(sql)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return database.read_bytes()


def assert_refuses(it: Finished, command: list[str], path: Path) -> None:
    run = subprocess.run(
        command,
        cwd=it.stack.root,
        env=it.stack.environment("seats"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = f"{path} is at schema version {LATER}, this program knows up to "
    assert (run.returncode, said in run.stderr, "Traceback" in run.stderr) == (1, True, False), run.stderr


def test_a_log_of_a_later_schema_is_refused_and_left_alone(patient_project: Path, tmp_path: Path) -> None:
    with restored(SETS[-1], patient_project, tmp_path) as it:
        path = log_of(it.stack)
        before = written_later(path, f"PRAGMA user_version = {LATER}")
        at_rest = [sys.executable, "-m", "sagagen", "sagas", "list", "--log", str(path)]
        for command in (at_rest, it.stack.command("up")):
            assert_refuses(it, command, path)
        assert path.read_bytes() == before


def test_a_services_database_of_a_later_version_is_refused_and_left_alone(
    patient_project: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(patient_project, tmp_path / "journey")
    with (root / "handlers" / "seats.sql").open("a") as script:
        script.write("INSERT OR IGNORE INTO cleaned (seat, times) VALUES (1, 0);\n")
    with restored(SETS[-1], root, tmp_path) as it:
        path = it.stack.data_dir / "seats.db"
        later = f"UPDATE sagagen_meta SET value = {LATER} WHERE name = 'barrier_version'"
        before = written_later(path, later)
        assert_refuses(it, it.stack.command("seats"), path)
        assert path.read_bytes() == before
