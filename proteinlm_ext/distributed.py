"""The end of a process that is one of several which evaluate or train together."""

import os
import sys


def leave(status: int, message: str = "") -> None:
    """End a process that is one of several; return where the process is alone.

    Where gloo's threads still run, the interpreter's own exit now and then aborts ("terminate
    called without an active exception"), after all is written. So the processes wait for each
    other, give up the group, and end without that exit.

    Args:
        status: Exit status. With any but 0 nobody is waited for: the others may be stuck.
        message: What to say on stderr first, as the traceback that would be lost.
    """
    if "torch.distributed" not in sys.modules:  # not loaded: certainly alone, and loading is slow
        return
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return
    if status == 0:
        dist.barrier()
        dist.destroy_process_group()
    sys.stderr.write(message)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
