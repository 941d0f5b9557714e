"""scipy.sparse: matrices and arrays by format, dtype, shape and entries.

The order in which entries are stored and the width of indices, which depend on how a matrix came about, are layout and
do not count; stored zeros and repeated entries do. The argument is left as it is, its flags included.
"""

from __future__ import annotations

import sys

from pcache.keys.dispatch import once_a_call, register_reducer
from pcache.startup import TYPE_CHECKING, Any

# What scipy keeps on a matrix; all else was put there by users.
_OWN = frozenset("maxprint indptr indices data coords row col offsets rows dtype has_canonical_format".split())

if TYPE_CHECKING:
    from pcache.keys.writer import Writer


def _notes(matrix: Any) -> list[object]:
    """The attributes that a matrix was given, if any."""
    notes = {name: value for name, value in vars(matrix).items() if name[0] != "_" and name not in _OWN}
    return [notes] if notes else []


@once_a_call
def _compressed(matrix: Any, _encoder: Writer) -> object:
    """CSR, CSC and BSR: the indices of each row (or column) in order."""
    count = int(matrix.indptr[-1])  # the arrays may have spare capacity
    parts = (matrix.data[:count], matrix.indices[:count], matrix.indptr)
    # Another object with the same arrays: checking whether one is sorted sets a flag on it.
    twin = type(matrix)(parts, shape=matrix.shape)
    if not twin.has_sorted_indices:
        twin = twin.sorted_indices()
    return (matrix.shape, twin.data, _places(twin.indices), _places(twin.indptr), *_notes(matrix))


def _places(indices: Any) -> Any:
    return indices.astype("int64", copy=False)


@once_a_call
def _coordinates(matrix: Any, _encoder: Writer) -> object:
    numpy: Any = sys.modules["numpy"]
    coords = matrix.coords if hasattr(matrix, "coords") else (matrix.row, matrix.col)  # older scipy
    order = numpy.lexsort(coords[::-1])
    return (matrix.shape, [_places(axis[order]) for axis in coords], matrix.data[order], *_notes(matrix))


@once_a_call
def _diagonals(matrix: Any, _encoder: Writer) -> object:
    """DIA: each diagonal without the part of its row of data that lies outside the matrix."""
    numpy: Any = sys.modules["numpy"]
    order = numpy.argsort(matrix.offsets, kind="stable")
    offsets = matrix.offsets[order]
    rows = numpy.arange(matrix.data.shape[1]) - offsets[:, None]
    inside = (rows >= 0) & (rows < matrix.shape[0]) & (rows + offsets[:, None] < matrix.shape[1])
    data = matrix.data[order]
    data[~inside] = 0
    return (matrix.shape, _places(offsets), data, *_notes(matrix))


def _by_rows(matrix: Any, encoder: Writer) -> object:
    """LIL and DOK: lists and dicts of Python objects, whose types depend on how they were inserted."""
    return (matrix.dtype, _coordinates(matrix.tocoo(), encoder), *_notes(matrix))


for _format, _reducer in {
    "csr": _compressed,
    "csc": _compressed,
    "bsr": _compressed,
    "coo": _coordinates,
    "dia": _diagonals,
    "lil": _by_rows,
    "dok": _by_rows,
}.items():
    for _kind in ("matrix", "array"):
        register_reducer(f"scipy.sparse._{_format}.{_format}_{_kind}", _reducer)
