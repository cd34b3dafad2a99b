"""Record a set of the corpus: a saga log and the databases of its services, as kill -9 left them all at one moment.

    PYTHONPATH=RELEASE/codegen:tests python tests/released/record.py tests/released/schema_4

RELEASE is a checkout of the release that writes the set; from here come the contract (tests/projects/journey), the
requests (journeys.py) and this script. It starts that release's own processes again and again, on one data folder, and
asks nothing of them but what a user would: HTTP, `sagagen generate`, `sagagen sagas`. A set is never recorded anew and
never edited; a new schema version gets a set of its own, and its lines in digests.txt.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import journeys as j
from journey_project import AS_IT_IS, FORGETFUL, HASTY, SECOND_VERSION, SERVICES, Changes, generate, sagagen
from sql_text import to_text
from stack import Stack, keyed

Answers = dict[str, dict[str, object]]
"""By the keys that they were asked with."""

LOG = "saga-log"
WITHIN_S = 120.0


class Recording:
    """One project, its data, and what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "journey"
        self.stack = Stack(folder / "var", root=self.root, services=SERVICES)
        self.requests: dict[str, j.Journey] = {}

    def deploy(self, changes: Changes = AS_IT_IS) -> None:
        """Generate the project, with its contract changed."""
        generate(self.root, changes)

    @contextmanager
    def life(self, *trouble: str, process: str = "up") -> Generator[None]:
        """A process, killed in the end."""
        os.environ["TROUBLE"] = ",".join(trouble)
        self.stack.start(process)
        yield
        self.stack.kill(process)

    def ask(self, journeys: Iterable[j.Journey]) -> None:
        """Start sagas, and wait until none of them moves any more."""
        journeys = list(journeys)
        self.requests |= {journey.key: journey for journey in journeys}
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(self.post, journeys))
        self.settle()

    def post(self, journey: j.Journey) -> httpx.Response:
        headers = keyed(journey.key)
        return self.stack.http.post(journey.path, json=journey.body(), headers=headers)

    def settle(self) -> None:
        """Wait until two looks at all sagas, a second apart, show the same."""
        shown: object = None
        with httpx.Client(base_url=self.stack.url, timeout=60) as client:
            for _ in until(WITHIN_S, "the sagas do not come to rest"):
                before, shown = shown, [client.get(f"/sagas/{each}").json() for each in self.active()]
                if shown == before:
                    return
                time.sleep(1)

    def finish(self) -> None:
        """Wait until no saga is active."""
        for _ in until(WITHIN_S, "the sagas do not end"):
            if not self.active():
                return
            time.sleep(0.1)

    def active(self) -> list[str]:
        query = "SELECT saga_id FROM saga WHERE status IN ('RUNNING', 'COMPENSATING')"
        return [row["saga_id"] for row in self.stack.rows(LOG, query)]

    def saga_ids(self) -> dict[str, str]:
        """Of all keys that the log has."""
        found = self.stack.rows(LOG, "SELECT idempotency_key, saga_id FROM saga")
        return {row["idempotency_key"]: row["saga_id"] for row in found}

    def act(self, act: str, journey: j.Journey, note: str, outcome: str = "") -> None:
        """As an operator."""
        url = f"{self.stack.admin_url}/sagas/{self.saga_ids()[journey.key]}"
        order = {"by": "ann", "note": note, "step": httpx.get(url, timeout=60).json()["step"]}
        if outcome:
            order["as"] = outcome
        httpx.post(f"{url}/{act}", json=order, timeout=60).raise_for_status()

    def act_at_rest(self, act: str, journey: j.Journey, note: str, *more: str) -> None:
        saga_id, log = self.saga_ids()[journey.key], str(self.stack.data_dir / f"{LOG}.db")
        sagagen("sagas", act, saga_id, *more, "--by", "ann", "--note", note, "--log", log, cwd=self.root)

    def forget(self, *names: str) -> None:
        """Take files away, as if they had never been."""
        for name in names:
            for file in self.stack.data_dir.glob(f"{name}.db*"):
                file.unlink()

    def files(self, *names: str) -> dict[Path, bytes]:
        """A backup."""
        return {file: file.read_bytes() for name in names for file in self.stack.data_dir.glob(f"{name}.db*")}

    def restore(self, backup: Mapping[Path, bytes], *names: str) -> None:
        self.forget(*names)
        for file, content in backup.items():
            file.write_bytes(content)

    def stuck(self) -> set[str]:
        """The keys of sagas that wait for an operator."""
        found = self.stack.rows(LOG, "SELECT idempotency_key FROM saga WHERE status = 'STUCK'")
        return {row["idempotency_key"] for row in found}

    def answers(self, keys: Iterable[str]) -> Answers:
        """What each key is answered now, and how it was asked; a key that is not heard is missing."""
        answered = {key: self.post(self.requests[key]) for key in keys}
        return {
            key: {"key": key, **self.requests[key].asked(), **_final(answer)}
            for key, answer in answered.items()
            if answer.status_code != 503
        }


def _final(answer: httpx.Response) -> dict[str, object]:
    """Empty while there is no final one."""
    if "idempotency-replayed" not in answer.headers:
        return {}
    return {"status": answer.status_code, "answer": answer.text}


def until(within_s: float, problem: str) -> Iterator[None]:
    ends_s = time.monotonic() + within_s
    while time.monotonic() < ends_s:
        yield
    raise AssertionError(problem)


def knows(*command: str) -> bool:
    """The first release has neither operators nor a purge; until schema 5 none holds or skips."""
    arguments = [sys.executable, "-m", "sagagen", "sagas", *command, "--help"]
    return subprocess.run(arguments, capture_output=True, check=False).returncode == 0


def record(it: Recording, *, is_first_release: bool, has_hands: bool) -> Answers:
    """Bring sagas into every state, and leave them there. Returns what each that is not stuck has been answered."""
    it.deploy()
    as_another_gateway(it)
    with it.life("away", "down"):
        if not is_first_release:
            it.ask([j.FORGOTTEN])
            # After it, since a purge goes by the stamps of rows, and the seats have no row of the first.
            it.ask([j.FORGOTTEN_UNDO])
            time.sleep(2)  # longer than the forgetful service remembers
        it.ask([j.REMEMBERED, *j.RESTORED])
    if not is_first_release:
        purge_seats(it)
    from_a_backup(it)
    it.deploy(HASTY)
    with it.life("down"):
        it.ask([*j.HASTY, *([] if is_first_release else j.OF_OPERATORS)])
        it.ask([*j.SETTLED, *j.SETTLED_AT_REST] if has_hands else [])
        it.finish()
    it.deploy(SECOND_VERSION)
    with it.life("down"):
        it.ask([j.OF_VERSION_2])
    it.deploy()
    with it.life("down", "silent"):
        it.ask([j.ELSEWHERE, j.ELSEWHERE_OTHERWISE, j.ELSEWHERE_LATER, j.ELSEWHERE_AFTER_PIVOT, *j.RESUMED])
    with ExitStack() as until_killed, it.life("down", "silent", "broken"):
        it.ask([*j.ENDED, j.NOT_BUILT, *([] if has_hands else [j.NOT_WRITTEN]), *j.ACTIVE])
        call_directly(it)
        if not is_first_release:
            it.ask([j.TO_BE_CANCELLED, j.TO_BE_CANCELLED_AT_REST])
            have_operators_act(it)
        if has_hands:
            it.ask([*j.HELD, *j.REFUSED, j.TO_BE_HELD_AT_REST, j.TO_BE_REFUSED_AT_REST])
            have_operators_settle(it)
        answers = it.answers(it.requests.keys() - it.stuck())
        it.ask([j.LAST])
        until_killed.enter_context(it.stack.holding_writes("mail"))
        it.ask([j.CALLED])
    if not is_first_release:
        it.act_at_rest("retry", j.TO_BE_RETRIED_AT_REST, "the seats are back")
        it.act_at_rest("cancel", j.TO_BE_CANCELLED_AT_REST, "the guest is ill")
    if has_hands:
        settle_at_rest(it)
    return answers


def as_another_gateway(it: Recording) -> None:
    """Run sagas with another log first, three times; then lose that log, and some databases as well."""
    for journeys, lost in (
        ([j.ELSEWHERE_AFTER_PIVOT], [LOG, "trips", "seats", "bank"]),
        ([j.ELSEWHERE_LATER], [LOG, "trips", "seats"]),
        ([j.ELSEWHERE, j.trip(j.ELSEWHERE_OTHERWISE.key)], [LOG]),
    ):
        with it.life():
            it.ask(journeys)
        it.forget(*lost)


def purge_seats(it: Recording) -> None:
    it.deploy(FORGETFUL)
    with it.life(process="seats"):
        query = "SELECT value FROM sagagen_meta WHERE name = 'purged_through_ms' AND value > 0"
        for _ in until(WITHIN_S, "nothing is purged"):
            if it.stack.rows("seats", query):
                break
            time.sleep(0.1)
    it.deploy()


def from_a_backup(it: Recording) -> None:
    """The log and the trips come back from a backup, the other services have gone on."""
    backup = it.files(LOG, "trips")
    with it.life("down"):
        it.settle()
    it.restore(backup, LOG, "trips")
    with it.life():
        it.settle()


def call_directly(it: Recording) -> None:
    for seat in (3, 3, 1000):
        headers = keyed(f"clean {seat}")
        httpx.post(f"{it.stack.url}/seats/{seat}:clean", json={}, headers=headers, timeout=60)


def have_operators_act(it: Recording) -> None:
    it.act("retry", j.TO_BE_RETRIED, "the seats are back")
    it.act("resolve", j.TO_BE_RESOLVED, "released by phone")
    it.act("cancel", j.TO_BE_CANCELLED, "the guest is ill")
    it.settle()


def have_operators_settle(it: Recording) -> None:
    """By `hold`, by `skip`, and by `resolve` on the way forward."""
    for journey in (j.TO_BE_DONE, j.TO_BE_DONE_AND_GO_ON):
        it.act("resolve", journey, "sent from the office")
    for journey in (j.TO_BE_SKIPPED, j.TO_BE_SKIPPED_AND_GO_ON):
        it.act("skip", journey, "the guest wants no ticket")
    for journey in (*j.HELD, *j.REFUSED, j.TO_BE_REFUSED_AT_REST):
        it.act("hold", journey, "we ask first")
    for journey in j.REFUSED:
        it.act("resolve", journey, "nothing is confirmed", "refused")
    it.settle()


def settle_at_rest(it: Recording) -> None:
    it.act_at_rest("hold", j.TO_BE_HELD_AT_REST, "we ask first")
    it.act_at_rest("resolve", j.TO_BE_DONE_AT_REST, "sent from the office", "send_ticket")
    it.act_at_rest("skip", j.TO_BE_SKIPPED_AT_REST, "the guest wants no ticket", "send_ticket")
    refused = ("confirm_trip", "--as", "refused")
    it.act_at_rest("resolve", j.TO_BE_REFUSED_AT_REST, "nothing is confirmed", *refused)


def answers_of_stuck(it: Recording, keys: Sequence[str]) -> Answers:
    """At last: the release that wrote schema 5 hears nobody any more soon after one of these, until it is restarted."""
    answers: Answers = {}
    while left := [key for key in keys if key not in answers]:
        with it.life("down", "silent", "broken"):
            answers |= it.answers(left)
    return answers


def write_databases(it: Recording, target: Path) -> None:
    target.mkdir()
    for name in (LOG, *SERVICES):
        (target / f"{name}.sql").write_text(to_text(it.stack.data_dir / f"{name}.db"))


def write_answers(it: Recording, answers: Answers, target: Path) -> None:
    asked = [answers[key] for key in it.requests if key in answers]
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in asked)
    (target / "requests.json").write_text(f"[\n{lines}\n]\n")


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        it = Recording(Path(folder))
        try:
            answers = record(it, is_first_release=not knows(), has_hands=knows("hold"))
            write_databases(it, target)
            stuck = [key for key in it.requests if key not in (*answers, j.LAST.key, j.CALLED.key)]
            write_answers(it, answers | answers_of_stuck(it, stuck), target)
        finally:
            it.stack.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
