"""The names of types and modules; `__main__` becomes the name that an import would use."""

from __future__ import annotations

import os
import sys

from pcache.objects.lookup import attributes_of, look, module_of, qualname_of, qualname_of_class, text
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Module names that differ in keys: those of process pool workers; those of Python 3.13; and for pcache's own names, the
# module that defined them when its first keys were made.
MODULES = {
    "__mp_main__": "__main__",
    "pathlib._local": "pathlib",
    "pcache.keys.file": "pcache.files",
    "pcache.keys.dispatch": "pcache.dispatch",
    "pcache.counters.tally": "pcache.tally",
    "pcache.runtime.modes": "pcache.modes",
    "pcache.function": "pcache.decorator",
}
_MAIN = ("__main__", "__mp_main__")
_NOTEBOOK = ".ipynb"


class Home(NamedTuple):
    """Where a function comes from: the import name of its module, and the `namespace` of that module.

    `namespace` is None for anything but a plain function of the module it names, such as a decorator's result.
    """

    name: str
    is_main: bool
    namespace: Mapping[str, Any] | None


def home_of(function: Callable[..., Any]) -> Home:
    """Find the home of a function; notebooks, REPLs and `python -c` stay `__main__`."""
    module = module_name(function) or module_name(type(function))
    is_main = module == "__main__"
    names = look(function, "__globals__")
    names = names if type(names) is dict else {}
    own = text(names.get("__name__"))
    if own != module and not (is_main and own in _MAIN):
        return Home(module, is_main, None)
    return Home(import_name(names), is_main, names)


def notebook_of(home: Home) -> str:
    """The file of the notebook that a function is of, as far as its front end says it; empty for any other function.

    It is for people, and no part of a key: a notebook that is renamed or copied keeps its results. Of the names, VS
    Code sets the first in the notebook, ipykernel the second, and Jupyter's server starts the kernel with the third,
    which worker processes inherit.
    """
    if home.name != "__main__":
        return ""
    names = home.namespace or attributes_of(sys.modules.get("__main__"))
    told = (names.get("__vsc_ipynb_file__"), names.get("__session__"), os.environ.get("JPY_SESSION_NAME"))
    return next((file for file in map(text, told) if file.endswith(_NOTEBOOK)), "")


def import_name(namespace: Mapping[str, Any]) -> str:
    """The import name of a module, from its namespace; a notebook or REPL is `__main__`."""
    name, file = text(namespace.get("__name__")), text(namespace.get("__file__"))
    if name not in _MAIN:
        return name
    if not file.endswith(".py"):
        return "__main__"
    stem, package = os.path.basename(file).removesuffix(".py"), text(namespace.get("__package__"))
    return f"{package}.{stem}" if package else stem


def names_itself(obj: Any) -> bool:
    """Whether a pickle of `obj` should refer to it by name; to be called by its `__reduce__`.

    Plain pickle can only write functions by name. But dill and cloudpickle write those of `__main__` by value, for
    processes that run another program or were forked before the function existed; cloudpickle also those of modules
    that were registered with it. They must be given a function then.
    """
    found: Any = sys.modules.get(text(look(obj, "__module__")))
    for part in qualname_of(obj).split("."):
        found, _ = try_call(getattr, found, part, None)  # as pickle looks for it
    if found is not obj:
        return False
    frame = sys._getframe(2)
    while frame.f_globals.get("__name__") == "pickle" and frame.f_back is not None:
        frame = frame.f_back  # the pickler written in Python, of which dill's is a subclass
    pickler, is_main = str(frame.f_globals.get("__name__")), module_name(obj) == "__main__"
    if pickler.endswith("cloudpickle.cloudpickle"):  # also the copies in joblib and others
        chosen = frame.f_globals.get("_PICKLE_BY_VALUE_MODULES", ())
        return not (is_main or any(f"{obj.__module__}.".startswith(f"{module}.") for module in chosen))
    return not (is_main and pickler == "dill._dill")


def type_name(cls: type) -> str:
    """The name of a class in keys; for `__main__` it does not depend on how the process was started."""
    name = module_of(cls)
    return f"{MODULES.get(name, name)}.{qualname_of_class(cls)}"


def module_name(obj: Any) -> str:
    """The module of a function or class, by a name that is the same in every process and version of Python."""
    name = module_of(obj)
    return MODULES.get(name, name)
