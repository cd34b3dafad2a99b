"""Each view of the console: it is there, it leads to its command line, and it says what is so."""

from pathlib import Path

import pytest
from console_client import console

from sagagen.runtime.console.views import VIEWS


@pytest.mark.parametrize("view", [view.path for view in VIEWS if view.is_listed])
async def test_every_view_is_in_the_navigation_of_every_other(view: str, tmp_path: Path) -> None:
    async with console(tmp_path, key="key-of-viv") as c:
        page = await c.page(view)
        for each in VIEWS:
            assert not each.is_listed or f'href="/console{each.path}"' in page
        assert f'href="/console{view}" aria-current="page"' in page.replace("\n", "")
