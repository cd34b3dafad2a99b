"""Print what `sagagen sagas` says of a log at rest, as JSON: of each saga in turn, in one process.

    python show_at_rest.py LOG

The folder that it is called in has the project. Each answer is a list: the exit code, and what was printed.
"""

import json
import sys

from click.testing import CliRunner

from sagagen.cli import main


def asked(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["sagas", *arguments, "--log", sys.argv[1]])
    return result.exit_code, result.output


if __name__ == "__main__":
    code, listed = asked("list", "--status", "ALL", "--limit", "1000", "--json")
    ids = [saga["id"] for saga in json.loads(listed)["sagas"]] if code == 0 else []
    print(json.dumps({"list": (code, listed), "sagas": {each: asked("show", each) for each in ids}}))
