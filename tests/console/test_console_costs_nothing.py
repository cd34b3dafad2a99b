"""A gateway that nobody looks at has a console, and pays nothing for it."""

import subprocess
import sys
from importlib.resources import files

from sagagen.runtime.console.rendering import STATIC
from sagagen.runtime.console.views import VIEWS

SCRIPT = """
import sys
import sagagen.runtime.process.gateway
import sagagen.runtime.process.embedded
loaded = [name for name in sys.modules if name.startswith(("jinja2", "markupsafe", "sagagen.runtime.console."))]
print(*sorted(loaded))
"""


def test_nothing_of_the_pages_is_imported_before_somebody_opens_one() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["sagagen.runtime.console.desk", "sagagen.runtime.console.mount"]


def test_each_view_has_its_template_and_each_file_is_there() -> None:
    room = files("sagagen.runtime.console")
    for view in VIEWS:
        assert view.name == "find" or (room / "templates" / f"{view.name}.html").is_file(), view.name
    for name in STATIC:
        assert (room / "static" / name).is_file(), name
    assert len((room / "static" / "console.js").read_text().splitlines()) < 200
