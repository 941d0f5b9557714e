"""scipy.sparse in keys: format, dtype, shape and entries count; the order in which they are stored does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from tests.key_values import key_of
from tests.support.alike import Groups, check

FORMATS = [f"{name}_{kind}" for name in "bsr coo csc csr dia dok lil".split() for kind in ("array", "matrix")]
DENSE = np.array([[1.0, 0, 2, 0], [0, 3, 0, 0], [4, 0, 5, 6]])


def scattered() -> Any:
    """The entries of `DENSE` in no order."""
    rows, columns = np.nonzero(DENSE)
    order = [3, 0, 5, 2, 4, 1]
    return sparse.coo_array((DENSE[rows, columns][order], (rows[order], columns[order])), shape=DENSE.shape)


def unsorted(cls: Any) -> Any:
    """A compressed matrix with the indices of its first row (or column) exchanged."""
    made = cls(DENSE)
    made.indices[:2] = made.indices[:2][::-1].copy()
    made.data[:2] = made.data[:2][::-1].copy()
    made.has_sorted_indices = False
    return made


def roomy(cls: Any) -> Any:
    """A compressed matrix with room for more entries, which holds anything."""
    made = cls(DENSE)
    made.data = np.append(made.data, [7.0, 8.0])
    made.indices = np.append(made.indices, np.array([0, 1], dtype=made.indices.dtype))
    return made


def item_by_item(cls: Any) -> Any:
    made = cls(DENSE.shape)
    for place in zip(*(axis[::-1] for axis in np.nonzero(DENSE)), strict=True):
        made[place] = int(DENSE[place])
    return made


def diagonals(outside: float) -> Any:
    """A matrix of diagonals, in another order, with a value where there is no cell."""
    made = sparse.dia_array(DENSE)
    order = np.arange(len(made.offsets))[::-1]
    data = made.data[order].copy()
    data[made.offsets[order] == 2, 0] = outside
    return sparse.dia_array((data, made.offsets[order]), shape=made.shape)


def with_note(matrix: Any) -> Any:
    matrix.note = "x"
    return matrix


def groups() -> Groups:
    """Matrices that are alike, and those that only look so."""
    made: Groups = {}
    for name in FORMATS:
        cls = getattr(sparse, name)
        made[name] = [cls(DENSE), cls(DENSE).copy(), cls(scattered()), cls(np.asfortranarray(DENSE))]
        made[f"{name}, other values"] = [cls(DENSE * 2)]
        made[f"{name}, other dtype"] = [cls(DENSE.astype("f4"))]
        made[f"{name}, other shape"] = [cls(np.vstack([DENSE, np.zeros((1, 4))]))]
        made[f"{name}, transposed"] = [cls(DENSE.T.copy())]
    for name in ("csr_array", "csc_array"):
        made[name] += [unsorted(getattr(sparse, name)), roomy(getattr(sparse, name))]
    made["lil_array"].append(item_by_item(sparse.lil_array))
    made["dok_array"].append(item_by_item(sparse.dok_array))
    made["dia_array"] += [diagonals(0), diagonals(9)]
    twice = sparse.coo_array(([1.0, 2.0], ([0, 0], [0, 0])), shape=(2, 2))
    return made | {
        "entries twice": [twice, twice.copy()],
        "their sum": [sparse.coo_array(([3.0], ([0], [0])), shape=(2, 2))],
        "with a stored zero": [sparse.csr_array(([3.0, 0.0], ([0, 1], [0, 1])), shape=(2, 2))],
        "without": [sparse.csr_array(([3.0], ([0], [0])), shape=(2, 2))],
        "blocks": [sparse.bsr_array(np.ones((4, 4)), blocksize=(2, 2))],
        "small blocks": [sparse.bsr_array(np.ones((4, 4)), blocksize=(1, 1))],
        "empty": [sparse.csr_array((0, 3))],
        "vector": [sparse.csr_array(np.array([1.0, 0, 2])), sparse.csr_array(sparse.coo_array(np.array([1.0, 0, 2])))],
        "with a note": [with_note(sparse.csr_array(DENSE)), with_note(unsorted(sparse.csr_array))],
        "dense": [DENSE],
    }


def test_alike() -> None:
    """Unsorted indices, spare room and what lies outside of a diagonal do not count; stored zeros do."""
    check(groups())


@pytest.mark.parametrize("name", ["csr_array", "csc_matrix"])
def test_arguments_stay_as_they_are(name: str) -> None:
    """Making a key neither sorts a matrix nor leaves a note on it that it is sorted."""
    matrix = unsorted(getattr(sparse, name))
    before, attributes = matrix.indices.copy(), dict(vars(matrix))
    key_of(matrix)
    assert (matrix.indices == before).all()
    assert {name: value for name, value in vars(matrix).items() if value is not attributes[name]} == {}
