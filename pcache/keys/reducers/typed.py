"""What annotations and the definitions of classes are made of: typing's objects, whose pickles are names or nothing."""

from __future__ import annotations

from pcache.keys.dispatch import register_reducer
from pcache.keys.names import module_name
from pcache.objects.lookup import look, state_in_c
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from pcache.keys.writer import Writer

_OF_VARIABLES = (
    "__name__ __bound__ __constraints__ __covariant__ __contravariant__ __infer_variance__ __default__".split()
)


def _forward(reference: Any, _encoder: Writer) -> object:
    """A name in an annotation by its text; its pickle would hold code."""
    module = look(reference, "__forward_module__")
    name = module if module is None or type(module) is str else look(module, "__name__")
    return (look(reference, "__forward_arg__"), name, look(reference, "__forward_is_class__"))


def _variable(variable: Any, encoder: Writer) -> object:
    """A type variable by its definition: those made within functions and classes have no pickle."""

    def write() -> object:
        # From Python 3.12 on these are evaluated lazily, and may raise.
        return [(name, encoder.nested(try_call(getattr, variable, name, None)[0])) for name in _OF_VARIABLES]

    return (module_name(variable), encoder.part(variable, write))


def _new_type(new: Any, encoder: Writer) -> object:
    return (module_name(new), new.__qualname__, encoder.part(new, lambda: encoder.nested(new.__supertype__)))


def _alias(alias: Any, encoder: Writer) -> object:
    """A `type` statement by its name and value, which may refer to itself."""

    def write() -> object:
        return encoder.nested((alias.__type_params__, try_call(getattr, alias, "__value__", None)[0]))

    return (module_name(alias), alias.__name__, encoder.part(alias, write))


def _definition(definition: Any, _encoder: Writer) -> object:
    """The definition of a class that a library keeps in C, and does not pickle."""
    return state_in_c(definition)


for _module in ("typing", "typing_extensions"):
    for _name in ("TypeVar", "ParamSpec", "TypeVarTuple"):
        register_reducer(f"{_module}.{_name}", _variable)
    register_reducer(f"{_module}.NewType", _new_type)
    register_reducer(f"{_module}.TypeAliasType", _alias)
for _name in ("typing.ForwardRef", "annotationlib.ForwardRef"):
    register_reducer(_name, _forward)
for _name in ("msgspec.structs.StructConfig", "msgspec._core.Factory", "msgspec.Meta"):
    register_reducer(_name, _definition)
