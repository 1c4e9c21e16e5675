"""Real clients, each in a process of its own: they read HF_ENDPOINT and more when imported."""

import os
import subprocess
import sys

from hub.server import Hub


def run_client(hub: Hub, *command: str, user: str | None = None, fails: bool = False) -> str:
    """Run Python with an empty cache against the Hub, which must know all that it is asked.

    Returns:
        What it wrote to stdout, or to stderr if it was to fail.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    env |= hub.environment(user)
    done = subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    assert [request for request in hub.requests if request.route == "?"] == []
    assert hub.requests
    return done.stderr if fails else done.stdout
