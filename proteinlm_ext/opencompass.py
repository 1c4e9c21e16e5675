"""The original answer extraction of OpenCompass, imported from its own wheel, never a copy.

`opencompass` pulls in mmengine and dozens of packages; its file of postprocessors needs only a
registry decorator from them. So that one file of the installed wheel is executed with a stand-in
for `opencompass.registry`, and the wheel is installed without its dependencies.
"""

import importlib.util
import sys
import warnings
from collections.abc import Callable
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from proteinlm_ext.errors import MissingDependencyError

VERSION = "0.5.4"
_INSTALL = f"pip install --no-deps opencompass=={VERSION}"


class _Registry:
    """Stand-in for mmengine's registry: the decorator returns the function as it is."""

    def register_module(self, *_: Any, **__: Any) -> Callable[[Any], Any]:
        return lambda function: function


@cache
def first_option_postprocess() -> Callable[[str, str], str]:
    """Return OpenCompass's `first_option_postprocess(text, options)`.

    Raises:
        MissingDependencyError: The wheel is not installed, or in another version.
    """
    try:
        found = version("opencompass")
    except PackageNotFoundError as error:
        raise MissingDependencyError(
            "proteinlmbench_opencompass scores with OpenCompass's own function. "
            f"Install its wheel, without its dependencies: {_INSTALL}"
        ) from error
    if found != VERSION:
        raise MissingDependencyError(
            f"proteinlmbench_opencompass is defined by opencompass {VERSION}, found {found}. "
            f"Install it: {_INSTALL}"
        )
    spec = importlib.util.find_spec("opencompass")
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0] if folders else "opencompass") / "utils" / "text_postprocessors.py"
    if not path.is_file():
        raise MissingDependencyError(
            f"opencompass {VERSION} is damaged: no {path}. Reinstall: {_INSTALL}"
        )
    return cast("Callable[[str, str], str]", _execute(path).first_option_postprocess)


def _execute(path: Path) -> Any:
    name = "proteinlm_ext._opencompass_text_postprocessors"
    loader = SourceFileLoader(name, str(path))
    module = ModuleType(name)
    module.__file__ = str(path)
    registry = ModuleType("opencompass.registry")
    registry.TEXT_POSTPROCESSORS = _Registry()  # pyright: ignore[reportAttributeAccessIssue]
    modules: dict[str, Any] = sys.modules
    before = {key: modules[key] for key in [registry.__name__] if key in modules}
    modules[registry.__name__] = registry
    try:
        with warnings.catch_warnings():
            # Its regular expressions hold invalid escapes such as "\s" in plain strings.
            warnings.simplefilter("ignore", category=DeprecationWarning)
            warnings.simplefilter("ignore", category=SyntaxWarning)
            loader.exec_module(module)
    finally:
        del modules[registry.__name__]
        modules.update(before)
    return module
