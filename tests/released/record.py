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
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import journeys as j
from journey_project import AS_IT_IS, FORGETFUL, HASTY, SECOND_VERSION, SERVICES, Changes, generate, sagagen
from sql_text import to_text
from stack import Stack, keyed

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
        return httpx.post(f"{self.stack.url}{journey.path}", json=journey.body(), headers=headers, timeout=60)

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

    def act(self, act: str, journey: j.Journey, note: str) -> None:
        """As an operator."""
        url = f"{self.stack.admin_url}/sagas/{self.saga_ids()[journey.key]}"
        order = {"by": "ann", "note": note, "step": httpx.get(url, timeout=60).json()["step"]}
        httpx.post(f"{url}/{act}", json=order, timeout=60).raise_for_status()

    def act_at_rest(self, act: str, journey: j.Journey, note: str) -> None:
        saga_id, log = self.saga_ids()[journey.key], str(self.stack.data_dir / f"{LOG}.db")
        sagagen("sagas", act, saga_id, "--by", "ann", "--note", note, "--log", log, cwd=self.root)

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

    def answers(self) -> list[dict[str, object]]:
        """What each key is answered now, and how it was asked."""
        return [
            {"key": key, "path": journey.path, "body": journey.body(), **self.answer(journey)}
            for key, journey in self.requests.items()
        ]

    def answer(self, journey: j.Journey) -> dict[str, object]:
        """Empty while there is no final one."""
        answered = self.post(journey)
        if "idempotency-replayed" not in answered.headers:
            return {}
        return {"status": answered.status_code, "answer": answered.text}


def until(within_s: float, problem: str) -> Iterator[None]:
    ends_s = time.monotonic() + within_s
    while time.monotonic() < ends_s:
        yield
    raise AssertionError(problem)


def knows_operators() -> bool:
    """The first release has neither operators nor a purge."""
    command = [sys.executable, "-m", "sagagen", "sagas", "--help"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def record(it: Recording, *, is_first_release: bool) -> list[dict[str, object]]:
    """Bring sagas into every state, and leave them there. Returns what each has been answered."""
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
        it.finish()
    it.deploy(SECOND_VERSION)
    with it.life("down"):
        it.ask([j.OF_VERSION_2])
    it.deploy()
    with it.life("down", "silent"):
        it.ask([j.ELSEWHERE, j.ELSEWHERE_OTHERWISE, j.ELSEWHERE_LATER, j.ELSEWHERE_AFTER_PIVOT, *j.RESUMED])
    with ExitStack() as until_killed, it.life("down", "silent", "broken"):
        it.ask([*j.ENDED, *j.STUCK, *j.ACTIVE])
        call_directly(it)
        if not is_first_release:
            it.ask([j.TO_BE_CANCELLED, j.TO_BE_CANCELLED_AT_REST])
            have_operators_act(it)
        answers = it.answers()
        it.ask([j.LAST])
        until_killed.enter_context(it.stack.holding_writes("mail"))
        it.ask([j.CALLED])
    if not is_first_release:
        it.act_at_rest("retry", j.TO_BE_RETRIED_AT_REST, "the seats are back")
        it.act_at_rest("cancel", j.TO_BE_CANCELLED_AT_REST, "the guest is ill")
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


def write(it: Recording, answers: list[dict[str, object]], target: Path) -> None:
    target.mkdir()
    for name in (LOG, *SERVICES):
        (target / f"{name}.sql").write_text(to_text(it.stack.data_dir / f"{name}.db"))
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in answers)
    (target / "requests.json").write_text(f"[\n{lines}\n]\n")


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        it = Recording(Path(folder))
        try:
            write(it, record(it, is_first_release=not knows_operators()), target)
        finally:
            it.stack.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
