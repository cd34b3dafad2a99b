"""The store of what earlier runs came to: it says what was put there, or nothing."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sagagen import cache as store
from sagagen.cache import Cache, digest_of

CONTENT = b"what was made" * 100


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / store.FOLDER, "this generator")


def entry(cache: Cache, key: str) -> Path:
    return cache.folder / key


@pytest.mark.parametrize("content", [b"", b"\0", CONTENT])
def test_what_was_put_is_found_again(cache: Cache, content: bytes) -> None:
    key = cache.key("file", "digest")
    assert cache.get(key) is None
    cache.put(key, content)
    assert cache.get(key) == content
    assert cache.get_all({"one": key, "other": cache.key("file", "of something else")}) == {"one": content}


def test_whatever_decides_is_in_the_key(cache: Cache) -> None:
    keys = [
        cache.key("file", "a", "b"),
        cache.key("file", "ab", ""),
        cache.key("file", "ab"),
        cache.key("other", "a", "b"),
        replace(cache, generator="another generator").key("file", "a", "b"),
    ]
    assert len({*keys}) == len(keys)
    assert digest_of("text") == digest_of(b"text")


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda _: b"",
    "shorter than a digest": lambda entry: entry[:10],
    "cut": lambda entry: entry[:-1],
    "longer": lambda entry: entry + b"\0",
    "a bit of the content": lambda entry: entry[:-1] + bytes([entry[-1] ^ 1]),
    "a bit of the digest": lambda entry: bytes([entry[0] ^ 1]) + entry[1:],
    "another entry": lambda _: b"\xff" * 500,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_counts_as_absent_and_is_replaced(cache: Cache, damage: str) -> None:
    key = cache.key("file", "digest")
    cache.put(key, CONTENT)
    entry(cache, key).write_bytes(DAMAGES[damage](entry(cache, key).read_bytes()))
    assert cache.get(key) is None
    cache.put(key, CONTENT)
    assert cache.get(key) == CONTENT


def test_what_is_no_file_counts_as_absent(cache: Cache) -> None:
    key = cache.key("file", "digest")
    entry(cache, key).mkdir(parents=True)
    cache.put(key, CONTENT)
    assert cache.get(key) is None
    cache.trim()


def test_a_cache_that_does_not_read_is_empty_and_one_that_does_not_write_stays_as_it_is(cache: Cache) -> None:
    key, other = cache.key("file", "digest"), cache.key("file", "another")
    replace(cache, reads=False).put(key, CONTENT)
    assert replace(cache, reads=False).get(key) is None
    replace(cache, writes=False).put(other, CONTENT)
    assert (cache.get(key), cache.get(other)) == (CONTENT, None)


def test_where_nothing_can_be_written_nothing_is_kept(cache: Cache) -> None:
    cache.folder.write_text("in the way")
    key = cache.key("file", "digest")
    cache.put(key, CONTENT)
    cache.trim()
    assert cache.get(key) is None
    assert cache.folder.read_text() == "in the way"


def test_git_ignores_it(cache: Cache) -> None:
    project = cache.folder.parent
    subprocess.run(["git", "init", "-q", project], check=True)
    cache.put(cache.key("file", "digest"), CONTENT)
    done = subprocess.run(["git", "status", "--porcelain"], cwd=project, capture_output=True, check=True)
    assert done.stdout == b""


@pytest.fixture
def three(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> tuple[Cache, list[str]]:
    """Entries that were used one after the other, of which two are within the limit."""
    monkeypatch.setattr(store, "LIMIT_BYTES", int(2.5 * len(CONTENT)))
    keys = [cache.key("file", str(n)) for n in range(3)]
    for n, key in enumerate(keys):
        cache.put(key, CONTENT)
        os.utime(entry(cache, key), ns=(n, n))
    return cache, keys


def test_what_was_not_used_for_longest_is_trimmed(three: tuple[Cache, list[str]]) -> None:
    cache, keys = three
    cache.trim()
    assert [cache.get(key) for key in keys] == [None, CONTENT, CONTENT]
    assert (cache.folder / ".gitignore").exists()


def test_what_is_read_is_used(three: tuple[Cache, list[str]]) -> None:
    cache, keys = three
    assert cache.get(keys[0]) == CONTENT
    cache.trim()
    assert [cache.get(key) for key in keys] == [CONTENT, None, CONTENT]


WORKER = """
import sys
from pathlib import Path
from sagagen import cache as store

store.LIMIT_BYTES = 200_000
cache = store.Cache(Path(sys.argv[1]), "this generator")
found = 0
for n in range(3000):
    key = cache.key("file", str(n % 7))
    content = str(n % 7).encode() * 40_000
    known = cache.get(key)
    assert known in (None, content), f"entry {n % 7} is neither absent nor right"
    found += known is not None
    if known is None or n % 3 == 0:
        cache.put(key, content)
    if n % 50 == 0:
        cache.trim()
print(found)
"""


@pytest.mark.slow
def test_runs_at_once_find_what_is_right_or_nothing(cache: Cache) -> None:
    package = Path(store.__file__).parents[1]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(cache.folder)],
            env={**os.environ, "PYTHONPATH": str(package)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for worker in workers:
        found, errors = worker.communicate()
        assert worker.returncode == 0, errors
        assert int(found) > 0, "nothing was ever found"
