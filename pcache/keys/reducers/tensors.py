"""torch: tensors by dtype, shape, device and elements, never by the storage that they view.

Modules need nothing of their own: pickle takes them apart into their class and attributes, down to the parameters.
"""

from __future__ import annotations

import sys

from pcache.keys.dispatch import register_reducer
from pcache.keys.reducers.arrays import content_digest
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcache.keys.writer import Writer


def _tensor(tensor: Any, encoder: Writer) -> object:
    """A tensor with its automatic differentiation: whether it takes part, its gradient, its hooks."""
    if tensor.is_nested or tensor.is_quantized:
        raise TypeError("nested and quantized tensors are not known to pcache")
    gradient = tensor.grad if tensor.is_leaf else None
    hooks = list((tensor._backward_hooks or {}).values())
    facts = (str(tensor.dtype), tuple(tensor.shape), str(tensor.device), tensor.requires_grad, tensor.is_leaf)
    return (*facts, gradient, hooks, vars(tensor), _elements(tensor.detach(), encoder))


def _elements(tensor: Any, encoder: Writer) -> object:
    torch: Any = sys.modules["torch"]
    if tensor.device.type == "meta":  # it has no elements
        return None
    if tensor.layout == torch.sparse_coo:
        whole = tensor.coalesce()
        return (tensor.is_coalesced(), whole.indices(), whole.values())
    if tensor.layout != torch.strided:
        raise TypeError(f"tensors of layout {tensor.layout} are not known to pcache")
    return encoder.once(tensor, lambda: content_digest(_as_integers(tensor.cpu(), torch).numpy()))


def _as_integers(tensor: Any, torch: Any) -> Any:
    """The same bits, without a copy, as a type that numpy knows, unlike bfloat16."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    return tensor.resolve_neg().view(integers)


register_reducer("torch.Tensor", _tensor)
register_reducer("torch.nn.parameter.Parameter", _tensor)
register_reducer("torch.nn.parameter.Buffer", _tensor)
