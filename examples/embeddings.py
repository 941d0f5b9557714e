"""20,000 sentences, each with an embedding of 384 floats: one call, and one entry, a sentence.

    python examples/embeddings.py
    python examples/embeddings.py --size 50 --rounds 1

The model here is a toy, of a millisecond a sentence: pieces of words are hashed, and a dense layer follows. Texts that
occur again, in this program or another one, are found; new ones alone are computed.
"""

from __future__ import annotations

import functools
import zlib
from pathlib import Path

import numpy as np
from side_by_side import side_by_side

from pcache import cached

DIMENSIONS, PIECES = 384, 4096
WORDS = "a river stone light under over green slow quick bright old new deep walks sings falls turns waits".split()


@functools.cache
def model() -> tuple[np.ndarray, np.ndarray]:
    """Load the weights, when they are needed first: a process that only finds embeddings never does."""
    random = np.random.default_rng(11)
    table, layer = random.normal(size=(PIECES, DIMENSIONS)), random.normal(size=(DIMENSIONS, DIMENSIONS))
    return table.astype(np.float32), layer.astype(np.float32) / 20


@cached
def embed(sentence: str) -> np.ndarray:
    """The embedding of a sentence, of length 1."""
    table, layer = model()
    pieces = [zlib.crc32(sentence[at : at + 4].encode()) % PIECES for at in range(len(sentence) - 3)]
    pooled = np.tanh(table[pieces] @ layer).mean(axis=0)
    return pooled / np.linalg.norm(pooled)


def sentence(number: int) -> str:
    """A sentence of twelve words that no other number has."""
    return " ".join(WORDS[(number + 7) * step % 101 % len(WORDS)] for step in range(1, 13)) + f" {number}"


def job(_folder: Path, size: int) -> str:
    """Embed so many sentences, and compare each with the first."""
    embedded = np.array([embed(sentence(number)) for number in range(size)])
    return f"{embedded.shape}, nearest to the first: {int(np.argsort(embedded @ embedded[0])[-2])}"


if __name__ == "__main__":
    side_by_side(job, size=20_000)
