"""Every case of the corpus becomes what is expected of it, and what it becomes type-checks and can be imported."""

import json
from pathlib import Path

import pytest
from golden_corpus import Case, Texts, broken, cases, difference, kept, outcome, rewrite, settled
from golden_run import outcomes

CASES = cases()
Outcomes = dict[str, Texts]


@pytest.fixture(scope="session")
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Of the cases that are selected."""
    names = " ".join(item.name for item in request.session.items)
    chosen = [case for case in CASES if f"[{case.name}]" in names]
    return outcomes(chosen, tmp_path_factory.mktemp("golden"))


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if not case.known_fault], ids=lambda case: case.name)
def test_a_contract_becomes_what_is_expected(case: Case, found: Outcomes) -> None:
    assert not broken(found[case.name]), broken(found[case.name])
    if changed := difference(case, found[case.name]):
        pytest.fail(f"{changed}\nIf that is meant: `make golden`, and read the git diff", pytrace=False)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.known_fault], ids=lambda case: case.name)
def test_a_known_fault_is_still_there(case: Case, found: Outcomes) -> None:
    assert case.known_fault
    mended = case.known_fault.mended(found[case.name])
    if mended:
        cure = f"remove tests/golden/{case.name}/known-fault, run `make golden`, and read the git diff"
        lines = "\n  ".join(mended)
        pytest.fail(
            f"no longer wrong in the way that is known:\n  {lines}\nIf it is mended: {cure}", pytrace=False
        )


def test_the_corpus_is_as_large_as_it_was_meant_to_be() -> None:
    refused = [case for case in CASES if "(exit 1)" in case.expected.get("stdout.txt", "")]
    assert len(CASES) >= 40
    assert len(refused) >= 12


def test_no_case_expects_a_crash_and_none_with_a_known_fault_expects_anything() -> None:
    for case in CASES:
        assert not (case.known_fault and case.expected), case.name
        for path, text in case.expected.items():
            assert "Traceback (most recent call last)" not in text, f"{case.name}/{path}"


@pytest.mark.slow
@pytest.mark.usefixtures("tools_of_its_own")
def test_shared_tools_do_what_tools_of_its_own_do(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "smallest-mesh")
    assert difference(case, outcome(case, tmp_path / case.name)) == ""


OUTCOME = {
    "stdout.txt": "created  generated/mesh.py\ncreated  handlers/a.py\n",
    "stderr.txt": "",
    "generated/mesh.py": "MESH = 2\n",
    "handlers/a.py": "",
    "generated/openapi.json": '{"paths": {"/a": {"get": 1, "put": 2}, "/b": {"get": 3}}, "info": 4}',
}


def a_case(folder: Path, **files: str) -> Case:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return Case(folder)


def test_a_change_is_shown_as_a_diff_and_rewriting_accepts_it(tmp_path: Path) -> None:
    case = a_case(tmp_path / "one", keep="generated/*\n!generated/*.json\n")
    rewrite(case, OUTCOME)
    assert sorted(case.expected) == ["generated/mesh.py", "stdout.txt"]
    assert case.expected["stdout.txt"] == "created  generated/mesh.py\n"
    assert difference(case, OUTCOME) == ""
    changed = {**OUTCOME, "generated/mesh.py": "MESH = 3\n", "generated/new.py": "x\n"}
    assert difference(case, changed).splitlines() == [
        "--- one/expected/generated/mesh.py",
        "+++ one/generated/mesh.py",
        "@@ -1 +1 @@",
        "-MESH = 2",
        "+MESH = 3",
        "--- one/expected/generated/new.py",
        "+++ one/generated/new.py",
        "@@ -0,0 +1 @@",
        "+x",
    ]
    rewrite(case, changed)
    assert difference(case, changed) == ""


def test_of_a_json_file_parts_can_be_kept(tmp_path: Path) -> None:
    keep = "generated/openapi.json#/paths/*/get\ngenerated/openapi.json#/paths/~1a/put\n"
    expected = kept(a_case(tmp_path, keep=keep), OUTCOME)["generated/openapi.json"]
    assert json.loads(expected) == {"paths": {"/a": {"get": 1, "put": 2}, "/b": {"get": 3}}}
    expected = kept(a_case(tmp_path, keep="*.json#/paths/~1a\n"), OUTCOME)["generated/openapi.json"]
    assert json.loads(expected) == {"paths": {"/a": {"get": 1, "put": 2}}}


def test_a_fault_is_known_by_each_of_its_symptoms(tmp_path: Path) -> None:
    fault = a_case(
        tmp_path, **{"known-fault": "A1: is 2\ngenerated/mesh.py: = 2$\ncrash.txt: Error"}
    ).known_fault
    assert fault
    assert fault.mended({**OUTCOME, "crash.txt": "ValueError"}) == []
    assert fault.mended(OUTCOME) == ["crash.txt: Error"]
    assert fault.mended({"generated/mesh.py": "MESH = 3"}) == ["generated/mesh.py: = 2$", "crash.txt: Error"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("generated/deploy/compose.yaml", "services:\n  redis: {}\n  redis: {}\n"),
        ("generated/deploy/compose.yaml", "services: {"),
        ("generated/manifest.json", '{"a": 1, "a": 2}'),
        ("generated/openapi.json", '{"openapi": "3.1.0"}'),
        ("generated/mesh.py", "MADE_IN = '{here}'"),
    ],
)
def test_a_document_that_is_broken_is_no_outcome(tmp_path: Path, path: str, text: str) -> None:
    root = tmp_path / "one"
    a_case(root, **{path: text.replace("{here}", str(root))})
    assert path in broken(settled(root, []))
