"""`make golden`: expect from now on what comes out. What changed is for a reviewer to read in the git diff."""

import sys
import tempfile
from pathlib import Path

from generator_tools import shared_tools
from golden_corpus import broken, cases, rewrite
from golden_run import outcomes


def main(names: list[str]) -> int:
    chosen = [case for case in cases() if not names or case.name in names]
    if unknown := set(names).difference(case.name for case in chosen):
        print(f"no such case: {', '.join(sorted(unknown))}")
        return 2
    with (
        tempfile.TemporaryDirectory(prefix="golden-") as folder,
        tempfile.TemporaryDirectory(prefix="golden-tools-") as memory,
        shared_tools(Path(memory)),
    ):
        found = outcomes(chosen, Path(folder))
    wrong = 0
    for case in chosen:
        outcome = found[case.name]
        if case.known_fault is None and (problem := broken(outcome)):
            print(f"{case.name}: left as it was, for this can't be expected:\n{problem}")
            wrong += 1
        else:
            rewrite(case, outcome)
    print(f"{len(chosen) - wrong} cases written: read what changed with `git diff tests/golden`")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
