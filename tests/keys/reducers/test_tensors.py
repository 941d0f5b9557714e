"""torch in keys: dtype, shape, device and elements count; storages, views and strides do not."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from pcache import Cache, PcacheWarning
from tests.key_values import key_of
from tests.support.alike import Groups, check

try:
    import torch
except ImportError:  # it is large, and no test of ours needs it more than its users do
    torch: Any = None  # type: ignore[no-redef]

needs_torch = pytest.mark.skipif(torch is None, reason="torch is not installed")
DTYPES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128 float8_e4m3fn".split()


def parameter(*, trained: bool = True) -> Any:
    return torch.nn.Parameter(torch.ones(3), requires_grad=trained)


def with_gradient(*, times: float) -> Any:
    tensor = torch.ones(3, requires_grad=True)
    (tensor * times).sum().backward()
    return tensor


def with_attribute() -> Any:
    tensor = torch.ones(3)
    tensor.note = "x"
    return tensor


def network(*, rate: float = 0.1, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    nn = torch.nn
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(rate), nn.LSTM(3, 3))


def restored() -> Any:
    """A network that got its state from another."""
    made = network(seed=5)
    made.load_state_dict(network().state_dict())
    return made


def optimizer(rate: float) -> Any:
    return torch.optim.SGD(network().parameters(), lr=rate)


def groups() -> Groups:
    """Tensors and modules that are alike, and those that only look so."""
    if torch is None:
        return {}
    made: Groups = {}
    for name in DTYPES:
        tensor = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(getattr(torch, name))
        wide = torch.zeros((4, 6)).to(tensor.dtype)
        wide[1:3, ::2] = tensor
        twin = copy.deepcopy(tensor)
        made[name] = [tensor, tensor.clone(), tensor.T.contiguous().T, wide[1:3, ::2], twin, tensor.detach()]
        made[f"row of {name}"] = [tensor[0], tensor[0].clone()]
        made[f"{name} number"] = [tensor[0, 1], tensor[0, 1].clone()]
    complex_ones = torch.tensor([1 + 2j])
    ones = torch.ones(3)
    return made | {
        "conjugate": [complex_ones.conj(), torch.tensor([1 - 2j])],
        "negative": [complex_ones.conj().imag, torch.tensor([-2.0])],
        "ones": [ones, torch.ones(1).expand(3)],
        "numpy": [ones.numpy()],
        "column": [ones[:, None]],
        "with gradient asked for": [torch.ones(3, requires_grad=True), ones.clone().requires_grad_()],
        "with a gradient": [with_gradient(times=2), with_gradient(times=2)],
        "with another gradient": [with_gradient(times=3)],
        "with an attribute": [with_attribute(), with_attribute()],
        "computed": [torch.ones(3, requires_grad=True) * 1, torch.ones(3, requires_grad=True) * 1],
        "parameter": [parameter(), parameter()],
        "frozen parameter": [parameter(trained=False)],
        "sparse": [ones.to_sparse(), ones.to_sparse()],
        "meta": [ones.to("meta"), torch.empty(3, device="meta")],
        "empty": [torch.empty(0), ones[:0]],
        "dtype": [torch.float32],
        "device": [torch.device("cpu")],
        "size": [torch.Size([1])],
        "network": [network(), restored(), copy.deepcopy(network()), pickle.loads(pickle.dumps(network()))],
        "another network": [network(seed=1)],
        "network with another rate": [network(rate=0.2)],
        "network in use": [network().eval()],
        "double network": [network().double()],
        "state": [network().state_dict(), restored().state_dict()],
        "optimizer": [optimizer(0.1), optimizer(0.1)],
        "other optimizer": [optimizer(0.2)],
    }


@needs_torch
def test_alike() -> None:
    """Views, strides and how a module got its state do not count; gradients, attributes and training do."""
    check(groups())


@needs_torch
@pytest.mark.filterwarnings("ignore")  # of layouts that torch calls experimental
def test_layouts_that_are_not_known_are_refused() -> None:
    """Their pickle names addresses, so they would never be found again: better say so."""
    ones = torch.ones((2, 2))
    for tensor in (ones.to_sparse_csr(), torch.quantize_per_tensor(ones, 0.1, 0, torch.qint8)):
        with pytest.raises(TypeError, match="not known to pcache"):
            key_of(tensor)


class Leaf:
    """Stands for a tensor where torch is not installed: what is asked of one is its class' name and `grad_fn`."""

    grad_fn: object = None


Leaf.__module__, Leaf.__qualname__ = "torch", "Tensor"


class Own(Leaf):
    """A subclass, as torch's own parameters are."""


def test_a_tensor_with_a_history_is_not_stored(cache: Cache) -> None:
    """It would come back as a leaf, and gradients would vanish without a word: said once, and computed each time."""
    calls = []

    @cache.cached
    def weigh(history: object) -> list[Own]:
        calls.append(history)
        made = Own()
        made.grad_fn = history
        return [made]

    with pytest.warns(PcacheWarning, match="detach"):
        weigh(1)
    weigh(1)
    weigh(None)
    weigh(None)
    assert calls == [1, 1, None]
