"""The code that builds a global object, where the object itself does not show what it holds.

These are the statements of its module that bind the name, or do something with what it means: an edit of
`ContextVar("v", default=1)` is an edit, and so is one of `app.config["RATE"] = RATE`. What the names in them mean
counts as it does for a function. They are read from the module's source, if that is the text that was loaded; a prompt
and a notebook have none.
"""

from __future__ import annotations

import os
import sys
import time
from types import CodeType, ModuleType

from blake3 import blake3

from pcache.fingerprint import known_code
from pcache.fingerprint.bytecode import facts_of
from pcache.fingerprint.parts import digest_of
from pcache.fingerprint.statements import that_change, that_make, with_origins
from pcache.objects.lookup import look
from pcache.objects.user_code import is_user_module
from pcache.startup import TYPE_CHECKING, Any, late
from pcache.system.interrupts import attempt, try_call

if TYPE_CHECKING:
    import _ast
    from collections.abc import Iterable, Iterator, Mapping

    from pcache.fingerprint import inputs
    from pcache.fingerprint.findings import Findings
    from pcache.fingerprint.inputs import Once

    Namespace = Mapping[str, Any]
else:
    inputs = late("pcache.fingerprint.inputs")

# Shown to people for an object of unknown origin: only its class counts, or what C shows of it.
BY_CLASS, IN_PART = "by its class alone", "by what it refers to"
_ONLY_THE_TREE = 0x400  # as `ast.parse` asks for: the module `ast` is not needed, and takes 3 ms to load
_LONGEST = 4 << 20  # bytes of a source file
_TICK = 0.01  # seconds: the resolution of a process's start time
_AT_ONCE, _MOST_TRIES = 0.001, 100  # seconds within which two looks at clocks are one


def follow_makers(walk: Findings) -> None:
    """Add, for each name whose object was not fully read, the code that makes it, or that it counts by its class."""
    done = 0
    ends = walk.ends
    while done < len(ends.found):  # grows meanwhile
        (place, name), (namespace, kinds) = list(ends.found.items())[done]
        done += 1
        path = f"{walk.space(namespace)}:{name}"
        if (label := f"making {path}") in walk.parts:
            continue
        is_moving = (place, name) in ends.moving
        code = _making(walk, namespace, name, is_moving=is_moving)
        if isinstance(code, tuple):
            origin, original = code
            walk.parts.add(label, digest_of("imported"), "")
            ends.add(vars(origin), original, kinds)
            continue
        if code is None:
            walk.parts.add(label, digest_of("unknown"), _shown(kinds))
        else:
            walk.parts.add(label, facts_of(code).digest, code.co_filename)
            _follow_names(walk, namespace, name, code)
        _add_inputs(walk, namespace, name, code, is_moving=is_moving)


def _add_inputs(walk: Findings, namespace: Namespace, name: str, code: CodeType | None, *, is_moving: bool) -> None:
    """Add what an object starts with beyond its code; if that is not known of state, its value counts from now on."""
    once = walk.state.once
    values, reads = inputs.inputs_of(code, namespace, once) if code is not None else ({}, False)
    if is_moving:
        others = inputs.set_elsewhere(namespace, name.partition(".")[0], walk.codes, once)
        values, reads = {**values, **others.values}, reads or others.reads
    for path, value in values.items():
        if (label := f"constant {path}") not in walk.parts and not walk.state.ignores(path):
            walk.parts.add(label, digest_of(value), "")
    if reads and is_moving:
        walk.state.distrust(namespace, name)


def is_made_by_code(walk: Findings) -> bool:
    """Whether the code is known that makes the global object which is being followed."""
    return walk.ends.site is not None and _making(walk, *walk.ends.site) is not None


def _shown(kinds: set[tuple[str, bool]]) -> str:
    alone = {name for name, seen in kinds if not seen}
    return f"{', '.join(sorted(alone or {name for name, _ in kinds}))}, {BY_CLASS if alone else IN_PART}"


def _follow_names(walk: Findings, namespace: Namespace, own: str, code: CodeType) -> None:
    """Follow the names in statements, as in a function."""
    facts = facts_of(code)
    walk.state.learn_reading(code, namespace)
    for name in sorted(facts.global_names - {"__name__", own.partition(".")[0]}):
        path = f"{walk.space(namespace)}:{name}"
        walk.attributes(walk.bind(namespace, name, path, partly=True), path, name, facts, set())
    for module, level, _ in sorted(facts.imports):
        if not level and not is_user_module(module.partition(".")[0]):
            walk.package(module)


def _making(
    walk: Findings, namespace: Namespace, name: str, *, is_moving: bool = False
) -> CodeType | tuple[ModuleType, str] | None:
    """The statements that make a name, as code; the module and name that it was imported from; None if unknown."""
    once = walk.state.once
    return once(("making", id(namespace), name, is_moving), lambda: _look(once, namespace, name, is_moving=is_moving))


def _look(once: Once, namespace: Namespace, name: str, *, is_moving: bool) -> CodeType | tuple[ModuleType, str] | None:
    """The same, by reading the source of the module."""
    file = namespace.get("__file__")
    if not isinstance(file, str) or not file:
        return None
    module = str(namespace.get("__name__", ""))
    text, digest = once(("text", file, module), lambda: _text_of(namespace, module, file))
    if text is None:
        return None
    known = known_code.makings.get(key := (file, digest, name, is_moving))
    if known is None:
        tree = once(("tree", file, digest), lambda: try_call(compile, text, file, "exec", _ONLY_THE_TREE, True)[0])
        known = known_code.makings[key] = making_in(tree, file, name, is_moving=is_moving)
    return _origin(namespace, known.imports, name) or known.code


def making_in(tree: _ast.Module | None, file: str, name: str, *, is_moving: bool) -> known_code.Making:
    """The statements of a module that make a name, as code, and what the module imports by them.

    `name` may lead into classes and functions by dots: `Model.lock`. Of what moves while the program runs only the
    statements count that bind or change it: the others do so in turn. Where none are found the name may come from any
    import of the module.
    """
    if tree is None:
        return known_code.Making(None, ())
    found: list[_ast.stmt] = []
    body = tree.body
    for step in name.split("."):
        inner = that_change(body, step) if is_moving else that_make(body, step)
        around = [one for one in found if is_moving and type(one).__name__ != "ClassDef"]
        found = around + inner if inner else found
        body = [one for outer in inner if type(outer).__name__ == "ClassDef" for one in outer.body]  # type: ignore[attr-defined]
    imports = tuple(_imports_in(found or tree.body))
    if not found:
        return known_code.Making(None, imports)
    found = with_origins(tree.body, found)
    import _ast  # late for start-up time

    return known_code.Making(try_call(compile, _ast.Module(found, []), file, "exec", 0, True)[0], imports)


def _text_of(namespace: Namespace, name: str, file: str) -> tuple[bytes | str | None, bytes]:
    """The source of a module as it was loaded, and its digest; None if that is unknown."""
    text: bytes | str | None = None
    if os.path.isfile(file):
        text = unchanged_text(file) if file.endswith(".py") else None
    else:
        loader = look(namespace.get("__spec__"), "loader")
        found, _ = attempt(lambda: loader.get_source(name))
        text = found if isinstance(found, str) and len(found) <= _LONGEST else None
    written = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return text, blake3(written or b"").digest(16)


def unchanged_text(file: str) -> bytes | None:
    """The content of a file, if unchanged since the program began: modules were loaded after that."""
    try:
        with open(file, "rb") as source:
            text = source.read(_LONGEST + 1)
            seen = os.fstat(source.fileno())
        link = os.lstat(file)
    except OSError:
        return None
    latest = max(seen.st_mtime, seen.st_ctime, link.st_ctime)
    return text if latest <= _BEGAN and len(text) <= _LONGEST else None


def _imports_in(statements: list[Any]) -> Iterator[known_code.ImportFrom]:
    """The statements `from module import name, ...`."""
    for one in statements:
        if type(one).__name__ == "ImportFrom":
            yield one.level, one.module or "", tuple((alias.name, alias.asname or alias.name) for alias in one.names)


def _origin(namespace: Namespace, imports: Iterable[known_code.ImportFrom], name: str) -> tuple[ModuleType, str] | None:
    """The user's module that a name was imported from, and its name there."""
    for level, module_name, names in imports:
        module = _module_of(namespace, level, module_name)
        for original, own in names if module is not None else ():
            if original == "*" and name in vars(module) and vars(module)[name] is namespace.get(name):
                return module, name  # type: ignore[return-value]
            if own == name and original in vars(module):
                return module, original  # type: ignore[return-value]
    return None


def _module_of(namespace: Namespace, level: int, name: str) -> ModuleType | None:
    steps = str(namespace.get("__package__") or "").split(".")
    above = steps[: len(steps) - level + 1] if level else []
    found = sys.modules.get(".".join([*above, *([name] if name else [])]))
    return found if isinstance(found, ModuleType) and is_user_module(found.__name__) else None


def _when_it_began() -> float:
    """When this process started, in seconds since 1970; now, if the system does not say."""
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        for _ in range(_MOST_TRIES):  # the process may be put aside between two looks at clocks
            before = time.clock_gettime(time.CLOCK_BOOTTIME)
            now = time.time()
            after = time.clock_gettime(time.CLOCK_BOOTTIME)
            if after - before < _AT_ONCE:
                break
        return now - max(0.0, after - ticks / os.sysconf("SC_CLK_TCK") - _TICK)
    except (OSError, ValueError, IndexError, AttributeError):
        return time.time()


# Taken at import: a forked child has the modules that its parent loaded.
_BEGAN = _when_it_began()
