"""Bind the arguments of a call into one canonical form.

`f(1)`, `f(x=1)` and, where 2 is the default of `y`, `f(1, 2)` are the same call. A binder is compiled once per
function: a function with the same parameters that returns the tuple of their values. Python's own call machinery then
does the binding (0.15 us, where `inspect.Signature.bind` takes 3.1 us). Nothing here knows what a key is.

Below decorators the parameters are those of the innermost function, if nothing on the way could tell one form of a call
from another (`uses.handed_on`).
"""

from __future__ import annotations

from types import FunctionType, GenericAlias, MethodType

from pcache.errors import ConfigError
from pcache.keys.variadics import handed_on, sees_order
from pcache.objects.lookup import (
    bases_of,
    full_name,
    is_a,
    kept,
    look,
    member,
    members_of,
    module_of,
    qualname_of,
)
from pcache.objects.summary import is_secret, summarize_value
from pcache.startup import TYPE_CHECKING, Any, NamedTuple, late
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pcache.keys import running

    Defaults = tuple[tuple[Any, ...] | None, dict[str, Any] | None]
else:
    running = late("pcache.keys.running")

WHOLE_CALL = ""  # what stands among key functions for all arguments
_VARARGS = 0x04
_VARKEYWORDS = 0x08
_KINDS = {
    "POSITIONAL_ONLY": "/",
    "POSITIONAL_OR_KEYWORD": "",
    "VAR_POSITIONAL": "*",
    "KEYWORD_ONLY": "k",
    "VAR_KEYWORD": "**",
}
# Wrappers that are not functions but bind arguments as the function in their `__wrapped__` does.
_HANDING_ON = frozenset(
    "functools._lru_cache_wrapper numba.core.registry.CPUDispatcher pcache.function.CachedFunction"
    " pcache.kinds.coroutine.CachedCoroutine pcache.kinds.conditional.ConditionalFunction"
    " pcache.kinds.generator.CachedGenerator pcache.batch.function.BatchFunction".split()
)


class Parameter(NamedTuple):
    """One parameter of a function; `kind` is the prefix of its group: "/", "", "*", "k" (keyword-only) or "**"."""

    name: str
    kind: str
    has_default: bool


class Binder(NamedTuple):
    """`bind(*args, **kwargs)` returns one value per name of `names`; `source` fully determines what it leaves out.

    `form` says what each value stands for: two binders of equal form make equal values of the same call.
    """

    bind: Callable[..., tuple[Any, ...]]
    names: tuple[str, ...]
    source: str
    form: tuple[str, ...]


def make_binder(
    function: Callable[..., Any],
    *,
    ignore: Iterable[str] = (),
    key_functions: Mapping[str, Callable[[Any], object]] | None = None,
) -> Binder:
    """Compile the binder of `function`.

    `ignore` names parameters to leave out; `key_functions` maps a parameter to a function whose result replaces its
    value, or "" to a function that is given all arguments, whose result replaces them. Where the function takes
    `**options`, both may name single options. Unknown names raise `ConfigError`. The binder raises `TypeError` for a
    call that does not fit and `UnhashableArgument` when a key function fails.
    """
    function = _bound_by(function)
    parameters, defaults, keyword_defaults = _parameters(function)
    ignored = frozenset([ignore] if isinstance(ignore, str) else ignore)
    replaced = dict(key_functions or {})
    label = qualname_of(function) or qualname_of(type(function))
    whole = replaced.pop(WHOLE_CALL, None)
    _check_names(label, parameters, ignored, "ignore")
    _check_names(label, parameters, replaced, "key")
    if whole is not None:
        if ignored:
            text = f"ignore= of {label} has no effect beside key=function, which leaves out what does not count itself"
            raise ConfigError(text, setting="ignore", value=ignore)
        return _of_whole_call(label, parameters, (defaults, keyword_defaults), whole)
    for name, replacement in replaced.items():
        if not callable(replacement):
            raise ConfigError(
                f"key={{{name!r}: ...}} of {label} takes a function of the argument, not"
                f" {summarize_value(replacement)}",
                setting="key",
                value=replacement,
            )
    kept = [parameter for parameter in parameters if parameter.name not in ignored]
    source = _source(parameters, kept, ignored, replaced)
    named = {parameter.name for parameter in parameters}
    namespace: dict[str, Any] = {
        "_pcache_default": None,
        "_pcache_options": _option_lister(
            label,
            ignored - named,
            {k: v for k, v in replaced.items() if k not in named},
            in_order=_sees_order(function, parameters),
        ),
    }
    for name, replacement in replaced.items():
        namespace[f"_pcache_key_{name}"] = running.guarded(label, name, replacement)
    bind = _compiled(label, source, namespace, (defaults, keyword_defaults))
    return Binder(bind, tuple(p.name for p in kept), source, tuple(_form(p, ignored - named, replaced) for p in kept))


def _compiled(label: str, source: str, namespace: dict[str, Any], defaults: Defaults) -> Callable[..., Any]:
    exec(source, namespace)  # noqa: S102 - the text holds parameter names of an existing function and nothing else
    bind: Any = namespace["bind"]
    bind.__qualname__ = label  # shown in Python's message for a wrong call
    bind.__defaults__, bind.__kwdefaults__ = defaults
    return bind  # type: ignore[no-any-return]


def _of_whole_call(
    label: str, parameters: list[Parameter], defaults: Defaults, function: Callable[..., object]
) -> Binder:
    """A binder of one value: what a function returns that is given the arguments as the cached function would be."""
    given = ", ".join(f"{p.name}={p.name}" if p.kind == "k" else f"{p.kind.strip('/')}{p.name}" for p in parameters)
    source = f"{_head(parameters)}  # the whole call\n    return (_pcache_key({given}),)\n"
    namespace = {"_pcache_default": None, "_pcache_key": running.guarded_call(label, function)}
    name = "key" if any(is_secret(parameter.name) for parameter in parameters) else "call"  # values of a key are hidden
    return Binder(_compiled(label, source, namespace, defaults), (name,), source, ("key of the call",))


def _form(parameter: Parameter, dropped: frozenset[str], replaced: Mapping[str, object]) -> str:
    """`x`, `*args`, `key(x)`, or `**options` with the single options that are left out or replaced."""
    text = parameter.kind * (parameter.kind in ("*", "**")) + parameter.name
    if parameter.name in replaced:
        return f"key({text})"
    if parameter.kind == "**" and (dropped or replaced):
        return f"{text} without {sorted(dropped)}, replacing {sorted(replaced)}"
    return text


def _bound_by(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function whose parameters bind calls: the innermost one that decorators pass all their arguments to."""
    chain = [function]
    while (inner := _inner(chain[-1])) is not None and not any(inner is one for one in chain):
        chain.append(inner)
    while len(chain) > 1:
        inner = chain.pop()
        if all(_starts_like(wrapper, inner) for wrapper in chain):
            return inner
    return function


def _inner(wrapper: Callable[..., Any]) -> Callable[..., Any] | None:
    """The function that a wrapper calls with exactly its own arguments, if any."""
    if full_name(type(wrapper)) in _HANDING_ON:
        return look(wrapper, "__wrapped__")  # type: ignore[no-any-return]
    return handed_on(wrapper)  # type: ignore[no-any-return]


def _starts_like(wrapper: Callable[..., Any], inner: Callable[..., Any]) -> bool:
    """Whether the first parameters of a wrapper are those of a function, so that both take them by the same names."""
    if not is_a(wrapper, FunctionType):
        return True
    first = [parameter for parameter in _parameters(wrapper)[0] if parameter.kind == ""]
    return _parameters(inner)[0][: len(first)] == first


def _parameters(function: Callable[..., Any]) -> tuple[list[Parameter], tuple[Any, ...] | None, dict[str, Any] | None]:
    """The parameters of `function`, and its defaults as a function object stores them."""
    if not is_a(function, FunctionType):
        return _parameters_of_callable(function)
    code = function.__code__
    names = code.co_varnames
    positional, keyword_only = code.co_argcount, code.co_kwonlyargcount
    first_default = positional - len(function.__defaults__ or ())
    parameters = [
        Parameter(name, "/" if i < code.co_posonlyargcount else "", i >= first_default)
        for i, name in enumerate(names[:positional])
    ]
    end = positional + keyword_only
    if code.co_flags & _VARARGS:
        parameters.append(Parameter(names[end], "*", False))
    parameters += [Parameter(name, "k", name in (function.__kwdefaults__ or ())) for name in names[positional:end]]
    if code.co_flags & _VARKEYWORDS:
        parameters.append(Parameter(names[end + bool(code.co_flags & _VARARGS)], "**", False))
    return parameters, function.__defaults__, function.__kwdefaults__


def _parameters_of_callable(
    function: Callable[..., Any],
) -> tuple[list[Parameter], tuple[Any, ...] | None, dict[str, Any] | None]:
    """The same for builtins, partials, classes and callable objects; `(*args, **kwargs)` if they have no signature.

    The signature of what they wrap does not say how they are called; nor does that of proxies such as wrapt's.
    """
    if _is_asked(function):
        call = member(type(function), "__call__")
        if type(call) is not FunctionType:
            return _ANYTHING
        function = MethodType(call, function)
    import inspect  # late for start-up time: plain functions do without it

    signature, _ = try_call(lambda: inspect.signature(function, follow_wrapped=False))
    if type(signature) is not inspect.Signature:
        return _ANYTHING
    parameters = [
        Parameter(p.name, _KINDS[p.kind.name], p.default is not p.empty) for p in signature.parameters.values()
    ]
    given = [(p.kind.name, p.name, p.default) for p in signature.parameters.values() if p.default is not p.empty]
    keyword_only = {name: default for kind, name, default in given if kind == "KEYWORD_ONLY"}
    return parameters, tuple(default for kind, _, default in given if kind != "KEYWORD_ONLY"), keyword_only


_SAYS = ("__getattr__", "__getattribute__", "__class__", "__wrapped__", "func")  # attributes that `inspect` would read
_MAX_WRAPPED = 50
_ANYTHING = [Parameter("args", "*", False), Parameter("kwargs", "**", False)], None, None


def _is_asked(function: object) -> bool:
    """Whether finding a signature would run code of the object, which may even have to ask a server."""
    for _ in range(_MAX_WRAPPED):
        said = [members_of(base).get(name) for base in _classes(function) for name in _SAYS]
        if any(type(one) in (FunctionType, property) for one in said) or is_a(function, GenericAlias):
            return True
        inner = [look(function, "__func__"), look(function, "__wrapped__"), kept(function, "func")]
        further = [one for one in inner if one is not None]
        if not further:
            return False
        function = further[0]
    return True


def _classes(function: object) -> list[type]:
    """The classes that define an object's attributes, except pcache's own, which run no other code."""
    return [base for base in bases_of(type(function)) if module_of(base).partition(".")[0] != "pcache"]


def _check_names(label: str, parameters: list[Parameter], names: Iterable[str], option: str) -> None:
    known = [parameter.name for parameter in parameters]
    items = tuple(f"{parameter.name}[" for parameter in parameters if parameter.kind == "*")
    for name in names:
        if name.startswith(items):
            advice = f"give key= a function of all arguments, such as key=lambda {items[0][:-1]}0, *rest: rest"
            raise ConfigError(
                f"{option}= of {label} names parameters, and {name!r} is an item of one; {advice}",
                setting=option,
                value=name,
            )
    if any(parameter.kind == "**" for parameter in parameters):
        return
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{option}= names {name!r}, which is no parameter of {label}; it has {', '.join(known) or 'none'}",
                setting=option,
                value=name,
            )


def _source(
    parameters: list[Parameter], kept: list[Parameter], ignored: frozenset[str], replaced: Mapping[str, object]
) -> str:
    """The binder's text."""
    values = [
        f"_pcache_options({p.name})"
        if p.kind == "**" and p.name not in replaced
        else f"_pcache_key_{p.name}({p.name})"
        if p.name in replaced
        else p.name
        for p in kept
    ]
    # The comment puts the omitted and replaced options into the text, which takes part in the function's id.
    note = f"  # without {sorted(ignored)}, replacing {sorted(replaced)}"
    return f"{_head(parameters)}{note}\n    return ({''.join(f'{value}, ' for value in values)})\n"


def _head(parameters: list[Parameter]) -> str:
    """The first line. It only marks which parameters have defaults; their values are set on the function later."""
    head: list[str] = []
    for i, (name, kind, has_default) in enumerate(parameters):
        if kind == "k" and not any(p.kind in ("*", "k") for p in parameters[:i]):
            head.append("*")
        text = f"{kind}{name}" if kind in ("*", "**") else name
        head.append(text + "=_pcache_default" * has_default)
        if kind == "/" and (i + 1 == len(parameters) or parameters[i + 1].kind != "/"):
            head.append("/")
    return f"def bind({', '.join(head)}):"


def _option_lister(
    label: str, dropped: frozenset[str], replaced: Mapping[str, Callable[[Any], object]], *, in_order: bool
) -> Callable[[dict[str, Any]], list[tuple[str, Any]]]:
    """A function that lists `**options` without the ignored ones: as they were given, or sorted by name."""
    guards = {name: running.guarded(label, name, function) for name, function in replaced.items()}
    if not dropped and not guards:
        if in_order:
            return lambda options: list(options.items())
        return lambda options: sorted(options.items(), key=_name) if options else []

    def list_options(options: dict[str, Any]) -> list[tuple[str, Any]]:
        kept = [name for name in options if name not in dropped]
        return [
            (name, guards[name](options[name]) if name in guards else options[name])
            for name in (kept if in_order else sorted(kept))
        ]

    return list_options


def _sees_order(function: Callable[..., Any], parameters: list[Parameter]) -> bool:
    """Whether a function can see in which order its `**options` were given."""
    names = [parameter.name for parameter in parameters if parameter.kind == "**"]
    return bool(names) and (not is_a(function, FunctionType) or sees_order(look(function, "__code__"), names[0]))


def _name(item: tuple[str, Any]) -> str:
    return item[0]
