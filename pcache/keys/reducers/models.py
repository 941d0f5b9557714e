"""Parts of pydantic's models that hold addresses, and functions that it checks the arguments of."""

from __future__ import annotations

from pcache.keys.dispatch import register_reducer
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from pcache.keys.writer import Writer


def _decorator(decorator: Any, _encoder: Writer) -> object:
    """A validator of a model, without the address of the model's class that it is found by."""
    return (decorator.cls_var_name, decorator.func, decorator.shim, decorator.info)


def _checked(wrapper: Any, _encoder: Writer) -> object:
    """What `validate_call` makes of a function: this and the types that it checks, not all globals of its module.

    Where the types are named by text that only the place of the definition can read, all that it can see counts.
    """
    from typing import get_type_hints  # late: pydantic has loaded it

    types, error = try_call(get_type_hints, wrapper.function, None, None, True)
    seen = types if error is None else wrapper.ns_resolver
    return (wrapper.function, seen, wrapper.validate_return, wrapper.config_wrapper.config_dict)


register_reducer("pydantic._internal._decorators.Decorator", _decorator)
register_reducer("pydantic._internal._validate_call.ValidateCallWrapper", _checked)
