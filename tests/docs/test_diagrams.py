"""Mermaid draws the diagrams of a saga that does more than call one step after the other, in a real browser."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from made_up_trees import diagrams, sagas, shop_s_mesh
from playwright.sync_api import Page, sync_playwright
from stack import REPOSITORY

from sagagen.contract import read_contract
from sagagen.contract.model import Saga
from sagagen.emit.docs_view import saga_doc
from sagagen.emit.templates import render_template

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="chromium is not installed here"),
]
FOOD = REPOSITORY / "tests" / "golden" / "second-edition-everything"
RENDER = "async ([name, text]) => (await mermaid.render(name, text)).svg"
ALL_AT_ONCE = """async texts => {
  const failed = [];
  for (const [number, text] of texts.entries())
    await mermaid.render("made-up-" + number, text).catch(error => failed.push(text + error.message));
  return failed;
}"""


@pytest.fixture(scope="module")
def page(mermaid: Path) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        try:
            page = browser.new_page()
            page.add_script_tag(path=mermaid / "node_modules" / "mermaid" / "dist" / "mermaid.min.js")
            page.evaluate("mermaid.initialize({ startOnLoad: false })")
            yield page
        finally:
            browser.close()


def food_s() -> tuple[str, ...]:
    mesh, findings = read_contract(FOOD)
    assert mesh, findings
    return tuple(diagrams(render_template("saga_doc.md.j2", saga_doc(mesh.sagas[0], mesh))))


def test_blocks_conditions_loops_and_waits_are_drawn_as_frames(page: Page) -> None:
    there, back, states = food_s()
    drawn = {name: page.evaluate(RENDER, [name, text]) for name, text in (("there", there), ("back", back))}
    frames = {name: set(re.findall(r'class="labelText"[^>]*>(\w+)<', svg)) for name, svg in drawn.items()}
    assert frames == {"there": {"par", "opt", "loop", "alt"}, "back": {"par", "opt", "loop"}}
    for word in ("OpenTicket", "RESTAURANT_SILENT", "for each dish, 5 at once", "COMPLETED"):
        assert word in drawn["there"] or word in drawn["back"], word
    svg = page.evaluate(RENDER, ["states", states])
    assert all(f">{name}" in svg for name in ("prepare", "answer", "undo prepare", "STUCK"))


@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(saga=sagas())
def test_diagrams_of_any_shape_are_drawn(page: Page, saga: Saga) -> None:
    texts = [*diagrams(render_template("saga_doc.md.j2", saga_doc(saga, shop_s_mesh())))]
    assert len(texts) >= 2
    assert page.evaluate(ALL_AT_ONCE, texts) == []
