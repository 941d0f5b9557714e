"""The exception for a call that has no key: which parameter, which part of it, and what to do."""

from __future__ import annotations

import sys

from pcache.errors import UnhashableArgument
from pcache.keys.dispatch import is_replaced
from pcache.keys.encoder import encode
from pcache.keys.file import NoFile
from pcache.objects.culprit import Culprit, find_culprit, first_line
from pcache.objects.lookup import module_of, qualname_of
from pcache.objects.recursion import has_room
from pcache.startup import TYPE_CHECKING
from pcache.system.interrupts import try_call
from pcache.text.phrases import a_thing

if TYPE_CHECKING:
    from collections.abc import Sequence


def unhashable_call(
    function: str, names: Sequence[str], values: Sequence[object], error: BaseException
) -> UnhashableArgument:
    """The exception for a call whose key failed with `error`: finds the parameter, and the path inside it.

    Raises `RecursionError` if the call is so deep in other calls that the arguments may not be at fault.
    """
    if isinstance(error, RecursionError) and not has_room():
        raise RecursionError("the call stack is too deep to make a key")
    for name, value in zip(names, values, strict=False):
        _, failure = try_call(encode, value)
        if failure is not None:
            return _unhashable(function, name, value, failure)
    return _unhashable(function, "arguments", values, error)


def _unhashable(function: str, name: str, value: object, error: BaseException) -> UnhashableArgument:
    """The exception for one argument that has no key, with the part at fault and the ways out."""
    if isinstance(error, RecursionError):  # every nested part fails, and none of them is at fault
        culprit = Culprit(name, qualname_of(type(value)), "", module_of(type(value)))
    else:
        found, _ = try_call(find_culprit, value, name, encode, error, is_replaced)  # which asks a value for its parts
        culprit = found or Culprit(name, qualname_of(type(value)), first_line(error))
    if isinstance(error, NoFile):
        return UnhashableArgument(
            f"{function}: argument {name!r} has no key: {error}",
            function=function,
            parameter=name,
            type_name=culprit.type_name,
            path=culprit.path,
        )
    why = (
        "it is nested too deeply"
        if isinstance(error, RecursionError)
        else f"{culprit.path} is {a_thing(culprit.type_name)}: {culprit.error}"
    )
    return UnhashableArgument(
        f"{function}: argument {name!r} has no key: {why}. If it does not affect the result, leave it out with"
        f" ignore=[{name!r}]; otherwise say what matters: for this function with key={{{name!r}: function_of_it}}, for"
        f" all of them with {_for_all_functions(culprit)}.",
        function=function,
        parameter=name,
        type_name=culprit.type_name,
        path=culprit.path,
    )


def _for_all_functions(culprit: Culprit) -> str:
    """The class that should define the key: the culprit's, or that of its holder where it is one of Python's own."""
    if culprit.module.partition(".")[0] in sys.stdlib_module_names:
        return (
            "a __pcache_key__ method on the class that holds it, or pcache.register_key(its_class, function_of_it)"
            " if it is not yours"
        )
    name = f"{culprit.module}.{culprit.type_name}"
    return f"a __pcache_key__ method on its class, or pcache.register_key({name!r}, function_of_it) if it is not yours"
