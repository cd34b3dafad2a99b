"""The docs as a site: every page has its place, every link and anchor leads somewhere, and no page asks other hosts."""

import re
import subprocess
import sys
from pathlib import Path

from stack import REPOSITORY

LOADED = re.compile(r"""<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=["']?(?P<url>[^"' >]+)""")


def test_the_site_is_built_strictly_and_asks_no_other_host(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1"},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    asked = {
        (page.name, url["url"])
        for page in pages
        for url in LOADED.finditer(page.read_text(encoding="utf-8"))
        if url["url"].startswith(("http:", "https:", "//"))
    }
    assert not asked
