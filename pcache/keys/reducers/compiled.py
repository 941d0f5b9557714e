"""Functions that numba compiles, and patterns of `regex`: what they are made of, not what was compiled of it."""

from __future__ import annotations

from copyreg import dispatch_table

from pcache.keys.dispatch import register_reducer
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcache.keys.writer import Writer

_SIGNATURES = ("sigs", "siglist", "typesigs")


def _compiled(function: Any, _encoder: Writer) -> object:
    """The function, its options, and its signatures if it accepts no others.

    Numba pickles functions with a number that each process draws anew and, if any signature is accepted, with those met
    so far. Signatures are told apart by their text, as numba itself does for types.
    """
    state = dict(function._reduce_states())
    open_to_others = state.get("can_compile", state.get("is_dynamic", not state.get("frozen", True)))
    for name in _SIGNATURES:
        found = state.pop(name, None)
        if found is not None and not open_to_others:
            state[name] = [str(signature) for signature in found]
    state.pop("uuid", None)
    return (type(function), sorted(state.items()))


def _callback(function: Any, _encoder: Writer) -> object:
    """A function for C, by its source and options; it has an address, and no pickle."""
    return (function._pyfunc, str(function._sig), function._compiler.targetoptions)


def _jitclass(kind: Any, _encoder: Writer) -> object:
    """The definition of a class that numba compiles; the class's name has an address in it."""
    fields = [(name, str(field)) for name, field in kind.struct.items()]
    return (kind.class_name, fields, kind.jit_methods, kind.jit_props, kind.jit_static_methods)


def _pattern(pattern: Any, _encoder: Writer) -> object:
    """A pattern by its text, its flags and its lists of words; the code in its pickle is in the order of a set.

    The function that pickles it stands for the version of `regex`: the class names a module that is not there.
    """
    return (dispatch_table.get(type(pattern)), pattern.pattern, pattern.flags, pattern.named_lists)


register_reducer("numba.core.ccallback.CFunc", _callback)
register_reducer("numba.core.types.misc.ClassType", _jitclass)
register_reducer("numba.core.serialize.ReduceMixin", _compiled, subclasses=True)
register_reducer("_regex.Pattern", _pattern)
