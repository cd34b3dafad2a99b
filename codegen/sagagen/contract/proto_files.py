"""Which protos a folder has, also behind symbolic links, as buf finds them."""

import os
from collections.abc import Iterator
from pathlib import Path


def proto_files(root: Path, folder: str) -> Iterator[str]:
    """Paths relative to `root`, in no certain order. A folder that is reached in several ways is read once."""
    seen: set[tuple[int, int]] = set()
    for at, folders, names in os.walk(root / folder, followlinks=True):
        status = os.stat(at)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()  # links may lead in circles
            continue
        seen.add((status.st_dev, status.st_ino))
        below = Path(at).relative_to(root).as_posix()
        protos = [name for name in names if name.endswith(".proto")]
        yield from (f"{below}/{name}" for name in protos if os.path.isfile(f"{at}/{name}"))
