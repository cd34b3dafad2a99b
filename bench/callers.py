#!/usr/bin/env python
"""What it costs to know who calls: `python bench/callers.py [--instructions]`.

Checks headers against the schemes of a contract as the edge does, in this process, one kind after the other: the hook
`caller=` alone, a token that is known (`remembered`), an API key in a file of 1,000, a token that is seen for the first
time by each algorithm, and of that the signature alone. Prints one line of JSON: microseconds of CPU for each, the
least of the rounds. With --instructions they are counted by valgrind's callgrind, in thousands.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from starlette.datastructures import Headers
from starlette.requests import Request

from sagagen.runtime.access import key_set, token
from sagagen.runtime.access.api_keys import ApiKey, digest_of
from sagagen.runtime.access.schemes import OidcCallers, Schemes
from sagagen.runtime.addresses import AccessFiles
from sagagen.runtime.clock import SystemClock
from sagagen.runtime.edge.entry import caller_of
from sagagen.runtime.model.security import ApiKeyScheme, OidcScheme, Security

Check = Callable[[], Awaitable[object]]

KEYS: Mapping[str, Any] = {
    "ES256": ECKey.generate_key("P-256"),
    "RS256": RSAKey.generate_key(2048),
    "EdDSA": OKPKey.generate_key("Ed25519"),
}
ROUNDS, CHECKS, COUNTED = 5, 400, 200
SECURITY = Security(
    (
        OidcScheme("customers", "https://id.example", "shop", tuple(KEYS), claims={"tenant": "string"}),
        ApiKeyScheme("partners", "X-Api-Key"),
    )
)
_TOTAL = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what it costs to know who calls.")
    parser.add_argument("--instructions", action="store_true", help="counted by valgrind")
    parser.add_argument("--under-valgrind", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.instructions:
            print(json.dumps({"thousand_instructions": _instructions(Path(folder))}))
            return
        files = _files(Path(folder))
        measure = _counted if given.under_valgrind else _timed
        print(json.dumps(asyncio.run(_measured(files, measure))))


def _instructions(folder: Path) -> dict[str, float]:
    """By kind, of one check, in thousands."""
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/counts"]
    ran = subprocess.run(
        [*command, sys.executable, __file__, "--under-valgrind"], check=True, capture_output=True, text=True
    )
    kinds = json.loads(ran.stdout)["cpu_us"]
    found: dict[str, float] = {}
    for number, kind in enumerate(kinds, start=1):
        total = _TOTAL.search((folder / f"counts.{number}").read_text(errors="replace"))
        assert total, "callgrind wrote no total"
        found[kind] = round(int(total[1]) / COUNTED / 1000, 1)
    return found


def _files(folder: Path) -> AccessFiles:
    keys, key_set_ = folder / "keys", folder / "jwks"
    keys.write_text("\n".join(ApiKey(f"k{n}", digest_of(str(n))).line() for n in range(1000)))
    public = [{**key.as_dict(private=False), "kid": name} for name, key in KEYS.items()]
    key_set_.write_text(json.dumps({"keys": public}))
    return AccessFiles(keys, is_api_keys_set=True, key_sets={"customers": key_set_})


async def _measured(
    files: AccessFiles, measure: Callable[[Check], Awaitable[float]]
) -> dict[str, dict[str, float]]:
    async with Schemes.opened(SECURITY, files, SystemClock()) as schemes:
        return {"cpu_us": {kind: await measure(check) for kind, check in _checks(schemes).items()}}


async def _timed(check: Check) -> float:
    """Microseconds of CPU that one check takes."""
    return round(min([await _round(check, CHECKS) for _ in range(ROUNDS)]), 1)


async def _round(check: Check, count: int) -> float:
    begun = time.process_time_ns()
    for _ in range(count):
        await check()
    return (time.process_time_ns() - begun) / count / 1000


async def _counted(check: Check) -> float:
    """The same, while callgrind counts; its dump has the number."""
    await _tell_callgrind("--instr=on")
    await _round(check, COUNTED)  # what is counted is translated anew
    await _tell_callgrind("--zero")
    took = await _round(check, COUNTED)
    await _tell_callgrind("--dump")
    await _tell_callgrind("--instr=off")
    return took


async def _tell_callgrind(what: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "callgrind_control", what, str(os.getpid()), stdout=subprocess.DEVNULL
    )
    assert await process.wait() == 0, what


def _checks(schemes: Schemes) -> dict[str, Check]:
    """By kind."""
    anybody = schemes.by(("customers", "partners"))
    request = Request({"type": "http", "headers": []})
    key = Headers(raw=[(b"x-api-key", b"999")])
    tokens = {algorithm: _token(algorithm) for algorithm in KEYS}
    shown = {
        name: Headers(raw=[(b"authorization", f"Bearer {text}".encode())]) for name, text in tokens.items()
    }
    (customers,) = [each for each in vars(schemes)["_callers"].values() if isinstance(each, OidcCallers)]

    def first(algorithm: str) -> Check:
        async def check() -> None:
            vars(customers)["_known"].clear()
            await anybody.identity(shown[algorithm])

        return check

    def alone(algorithm: str) -> Check:
        parsed = token.parse(tokens[algorithm])
        found = customers.keys.current().find(algorithm, algorithm)
        assert isinstance(found, key_set.PublicKey)

        async def check() -> None:
            parsed.check_signature(found)

        return check

    return {
        "hook": lambda: caller_of(lambda _: "ann", request),
        "remembered": lambda: anybody.identity(shown["ES256"]),
        "api key": lambda: anybody.identity(key),
        **{algorithm: first(algorithm) for algorithm in KEYS},
        **{f"{algorithm}, signature alone": alone(algorithm) for algorithm in KEYS},
    }


def _token(algorithm: str) -> str:
    now = int(time.time())
    claims = {
        "iss": "https://id.example",
        "aud": "shop",
        "sub": "5c0e2f9e-0000-4000-8000-000000000001",
        "iat": now,
        "exp": now + 3600,
        "scope": "orders.read orders.write",
        "tenant": "north",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that EdDSA has another name since RFC 9864
        header = {"alg": algorithm, "kid": algorithm}
        return jwt.encode(header, claims, KEYS[algorithm], algorithms=[algorithm])


if __name__ == "__main__":
    main()
