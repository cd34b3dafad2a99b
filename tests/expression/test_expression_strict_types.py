"""The emitted functions are clean under the strict type checker."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from expression_lab import PACKAGE, Lab
from test_expression_code import FORMS
from test_expression_guards import GUARDED
from test_expression_places import COMPUTED

from sagagen.expression.types import Simple
from sagagen.python_names import identifier

ROOT = Path(__file__).parents[2]
BROAD = """
text: "input.flag ? (input.nick + 'a') : string(steps.earlier.big)"
nick: "input.flag ? input.nick : steps.earlier.nick"
small_numbers: "input.items.filter(i, i.quantity > 1).map(i, i.quantity * input.big)"
items: "input.items.map(i, Item{name: i.name, tags: i.tags.map(t, Item.Tag{name: t.name}), note: i.note})"
flag: "input.items.exists(i, 10 / i.quantity > 1) || input.numbers.all(n, 1 / n > 0)"
totals: "{'a': 1, 'b': input.totals['c']}"
inner: { item: { name: input.inner.item.name }, kind: input.inner.maybe_kind, words: [input.text, "'b'"] }
wrapped_text: "input.flag ? input.wrapped_text : null"
"""


OF_EVENT = [
    ("when", "event.quantity > 1 && caller == input.text"),
    ("saga_id", "event.name + saga.id"),
    ("in", "event.tags"),
    ("in", "'[input.kind]'"),
    ("in", "'[input.totals]'"),
]
OF_ITEM = [
    ("at", "dish", Simple.TIMESTAMP),
    ("in", "'[dish]'", Simple.DURATION),
    ("key", "dish", Simple.STRING),
]


@pytest.mark.slow
def test_emitted_functions_pass_basedpyright_strict(lab: Lab, tmp_path: Path) -> None:
    checker = shutil.which("basedpyright", path=str(Path(sys.executable).parent)) or shutil.which(
        "basedpyright"
    )
    assert checker is not None
    requests = [*(yaml for yaml, _ in FORMS), *(yaml for yaml, _ in GUARDED), BROAD]
    sources = [lab.source(lab.compiled(yaml)) for yaml in requests]
    sources += [lab.value_source(lab.compiled_value(place, yaml)) for place, yaml, _ in COMPUTED]
    sources += [
        lab.value_source(lab.compiled_value(place, yaml, event=lab.descriptor("Item")), event="Item")
        for place, yaml in OF_EVENT
    ]
    sources += [
        lab.value_source(lab.compiled_value(place, yaml, item=("dish", type_)))
        for place, yaml, type_ in OF_ITEM
    ]
    imports = sorted({line for source in sources for line in source.imports.splitlines()})
    functions = [
        re.sub(r"^def (build|compute)\(", f"def {identifier(f'function_{n}')}(", source.function)
        for n, source in enumerate(sources)
    ]
    shutil.copytree(lab.folder / PACKAGE, tmp_path / PACKAGE)
    (tmp_path / "emitted.py").write_text("\n".join(imports) + "\n\n\n" + "\n\n\n".join(functions) + "\n")
    (tmp_path / "pyrightconfig.json").write_text(
        f'{{"typeCheckingMode": "strict", "pythonVersion": "3.11", "include": ["emitted.py"], '
        f'"extraPaths": [".", "{ROOT / "codegen"}"]}}'
    )
    command = [checker, "--pythonpath", sys.executable, "-p", str(tmp_path / "pyrightconfig.json")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout
