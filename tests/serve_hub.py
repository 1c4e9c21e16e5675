"""Serve the repositories of a folder to the Hub's clients, on loopback.

`python tests/serve_hub.py ROOT`: ROOT holds `datasets/OWNER/NAME/...` and `models/OWNER/NAME/...`.
It prints what its clients need to know, as variables of the shell:

    python tests/serve_hub.py ROOT > hub.env &
    source hub.env
"""

import argparse
import contextlib
import threading
from pathlib import Path

from hub.server import Hub

OWNER = "alice"
"""Who may write, as herself and in the organisation acme."""


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder, without those of git and the Hub's client."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if path.is_file() and not name.startswith((".git/", ".cache/"))
    }


def add_folders(hub: Hub, root: Path) -> Hub:
    """Make a repository of each folder."""
    for kind in ("dataset", "model"):
        for folder in sorted((root / f"{kind}s").glob("*/*")):
            hub.add(kind, f"{folder.parent.name}/{folder.name}", read_files(folder))
    return hub


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="folder with datasets/ and models/")
    parser.add_argument("--port", type=int, default=0, help="a free one by default")
    options = parser.parse_args()
    with add_folders(Hub(port=options.port), options.root) as served:
        if not served.repos:
            parser.error(f"there is no {options.root}/datasets/OWNER/NAME or models/OWNER/NAME")
        known = {
            "HF_ENDPOINT": served.endpoint,
            "HF_TOKEN": served.token(OWNER),
            "HF_HUB_DISABLE_XET": "1",
        }
        print(*(f"export {name}={value}" for name, value in known.items()), sep="\n", flush=True)  # noqa: T201
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
