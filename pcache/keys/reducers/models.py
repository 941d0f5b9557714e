"""Parts of pydantic's models that hold addresses."""

from __future__ import annotations

from pcache.keys.dispatch import register_reducer
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcache.keys.writer import Writer


def _decorator(decorator: Any, _encoder: Writer) -> object:
    """A validator of a model, without the address of the model's class that it is found by."""
    return (decorator.cls_var_name, decorator.func, decorator.shim, decorator.info)


register_reducer("pydantic._internal._decorators.Decorator", _decorator)
