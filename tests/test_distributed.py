"""One of several processes ends without the interpreter's own exit; a process alone goes on."""

from pathlib import Path

import pytest
from test_data_parallel import run_twice

from proteinlm_ext.distributed import leave

PROGRAM = """
import sys
import torch.distributed as dist
from proteinlm_ext.distributed import leave

dist.init_process_group("gloo")
leave(int(sys.argv[1]), "the reason\\n")
print("came back")
"""


@pytest.mark.parametrize("status", [0, 3])
def test_both_processes_end_with_the_status_and_the_message(status: int, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    done = run_twice(str(program), str(status))
    assert "came back" not in done.stdout
    assert "the reason" in done.stderr
    assert (done.returncode == 0) == (status == 0)
    assert status == 0 or f"exitcode  : {status}" in done.stderr


def test_a_process_that_is_alone_goes_on() -> None:
    leave(3, "nothing of this")
