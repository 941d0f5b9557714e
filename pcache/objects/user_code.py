"""Whether a module is the user's, an installed package's, or Python's own.

The user's code is followed into every function. A package counts by its version, the standard library by Python's.
"""

from __future__ import annotations

import os
import sys

from pcache.objects.lookup import attributes_of, look, module_of, text
from pcache.startup import TYPE_CHECKING, Any, late
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from pcache.objects import installed
    from pcache.system import file_content
else:
    installed = late("pcache.objects.installed")
    file_content = late("pcache.system.file_content")

_INSTALLED = ("site-packages", "dist-packages")
_EXTENSIONS = (".so", ".pyd")
_STDLIB = os.path.dirname(os.__file__) + os.sep  # `sysconfig` would say the same, and takes 0.5 ms to load
_user: dict[str, bool] = {}
_versions: dict[str, str] = {}
_expected: dict[str, tuple[installed.State, str]] = {}  # of packages that are not loaded
_built: dict[str, str] = {}


def is_user_code(obj: Any) -> bool:
    """Whether a function or class lies outside of the standard library and of installed packages."""
    name = module_of(obj)
    return name != "" and is_user_module(name)


def is_user_module(name: str) -> bool:
    """The same for a module by name. A package installed in editable form is the user's."""
    try:
        return _user[name]
    except KeyError:
        verdict = _find_out(name)
        if name in sys.modules:
            _user[name] = verdict
        return verdict


def _find_out(name: str) -> bool:
    """Whether a module's file is the user's; code without one (made by hand, or unregistered) is followed."""
    root, dot, _ = name.partition(".")
    if root in ("__main__", "__mp_main__"):
        return True
    members = attributes_of(sys.modules.get(name))
    path = text(members.get("__file__"))
    if root in sys.stdlib_module_names:
        # A user's module may have such a name: `colorsys.py`.
        return is_user_file(path) and os.path.isfile(path)
    if root == "pcache":
        return False
    if path:
        return is_user_file(path)
    if dot:
        return is_user_module(name.rpartition(".")[0])
    folders, _ = try_call(list, members.get("__path__", ()))  # those of a namespace package are computed now
    return not any(_is_installed(folder) for folder in folders or () if type(folder) is str)


def is_user_file(path: str) -> bool:
    """Whether a file is Python source of the user's. Extension modules have no Python code to follow."""
    return path.endswith((".py", ".pyc")) and not _is_installed(path)


def _is_installed(path: str) -> bool:
    parts = path.replace("\\", "/").split("/")
    return any(part in parts for part in _INSTALLED) or path.startswith(_STDLIB)


def package_of(name: str) -> tuple[str, str]:
    """The top-level package of a module, and its version; that of Python for the standard library.

    An extension module that was built beside the program counts by itself: its version does not show a rebuild.
    """
    if own := _built_here(name):
        return name, own
    root = name.partition(".")[0]
    try:
        return root, _versions[root]
    except KeyError:
        return root, _version_now(root)


def _version_now(root: str) -> str:
    """The version of a package; for good once it is loaded, and before that until something is installed."""
    if root in sys.stdlib_module_names:
        return _versions.setdefault(root, ".".join(map(str, sys.version_info[:2])))
    state, is_loaded = installed.state(), root in sys.modules
    before, version = _expected.get(root, (None, ""))
    if before != state:
        was, version = version, _version_of(root)
        if is_loaded and was and was != version:
            version = f"{was} or {version}"  # upgraded before it was loaded, or since: nobody else has that identity
    if is_loaded:
        _versions[root] = version
    else:
        _expected[root] = state, version
    return version


def _built_here(name: str) -> str:
    """The digest of an extension module that is not installed; empty for any other."""
    if name not in _built:
        path = getattr(sys.modules.get(name), "__dict__", {}).get("__file__")
        if not isinstance(path, str):
            return ""
        is_own = path.endswith(_EXTENSIONS) and not _is_installed(path) and os.path.isfile(path)
        _built[name] = file_content.content_digest(path).hex()[:16] if is_own else ""
    return _built[name]


def _version_of(root: str) -> str:
    # Not by getattr: a package may warn when it computes this.
    members = attributes_of(sys.modules.get(root))
    declared, file = text(members.get("__version__")), text(members.get("__file__"))
    if declared:
        return declared
    if root not in sys.modules:
        from importlib.util import find_spec  # late for start-up time: most packages that code uses are loaded

        spec = try_call(find_spec, root)[0]  # without the error, which holds the frames of all callers
        if spec is None:
            return ""  # not installed: no distribution need be asked
        file = text(look(spec, "origin"))
    # Without a distribution by its file: copied there by hand, or an extension module built beside the program.
    return installed.versions_of(root) or (file_content.content_digest(file).hex()[:16] if os.path.isfile(file) else "")
