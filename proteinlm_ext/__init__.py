"""Measure, train and publish language models that understand proteins.

    import proteinlm_ext as plm

    plm.load_benchmark()                      # the questions, checked
    plm.audit("questions.json")               # their faults, and what never reading them scores
    plm.evaluate(model="hf", model_args="pretrained=NAME", tasks="proteinlmbench")
    plm.compare(["base=results/base", "tuned=results/tuned"])
    plm.render_card("exported/model")         # the texts that its card.json makes

The commands of `proteinlm` are made of the same functions. Nothing is imported before it is asked
for: the startup hook imports this package whenever Python starts.
"""

from importlib import import_module

__version__ = "0.1.0"
__all__ = ["audit", "compare", "evaluate", "load_benchmark", "render_card"]

TYPE_CHECKING = False  # type checkers take it for true; `typing` itself need not be imported
if TYPE_CHECKING:
    from proteinlm_ext.api import audit, compare, evaluate, load_benchmark, render_card


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module("proteinlm_ext.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
