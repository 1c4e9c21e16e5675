"""The startup hook: `lm_eval --tasks proteinlmbench` works after `pip install proteinlm-ext`.

Released lm-eval (0.4.13) has no plugin point for tasks. `zz_proteinlm.pth` in site-packages imports
this module in every Python process; it only waits. When `lm_eval.tasks` or `lm_eval.models` has
been imported, `proteinlm_ext.harness` adds our tasks and models to it. The hook writes nothing,
never raises, and is off with `PROTEINLM_NO_AUTOLOAD=1`. It goes when lm-eval has task plugins
(EleutherAI/lm-evaluation-harness#4015).

It stands outside the package and imports nothing new, since every Python process pays for it.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class AfterImport:
    """A finder for `sys.meta_path` that extends two modules once they have been executed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Find the module as everybody else does, and wrap its execution."""
        if name not in ("lm_eval.tasks", "lm_eval.models"):
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec: Any = next(filter(None, specs), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_then_extend(module: Any) -> None:
                execute(module)
                try:
                    from proteinlm_ext.harness import extend

                    extend(module)
                except Exception as error:  # noqa: BLE001 -- a hook must not break lm-eval
                    print(f"proteinlm-ext: hook skipped: {error!r}", file=sys.stderr)  # noqa: T201

            spec.loader.exec_module = execute_then_extend
        return spec


if os.environ.get("PROTEINLM_NO_AUTOLOAD") != "1":
    sys.meta_path.insert(0, AfterImport())
