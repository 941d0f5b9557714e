"""20,000 sentences, each with an embedding of 384 floats: one call, and one entry, a sentence.

    python examples/embeddings.py
    python examples/embeddings.py --size 50 --rounds 1

The model here is a toy: pieces of words are hashed, and a few dense layers follow. Texts that occur again, in this
program or another one, are found; new ones alone are computed.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from side_by_side import side_by_side

from pcache import cached

DIMENSIONS, PIECES, LAYERS = 384, 4096, 6
WORDS = "a river stone light under over green slow quick bright old new deep walks sings falls turns waits".split()
random = np.random.default_rng(11)
TABLE = random.normal(size=(PIECES, DIMENSIONS)).astype(np.float32)
WEIGHTS = [random.normal(size=(DIMENSIONS, DIMENSIONS)).astype(np.float32) / 20 for _ in range(LAYERS)]


@cached
def embed(sentence: str) -> np.ndarray:
    """The embedding of a sentence, of length 1."""
    pieces = [zlib.crc32(sentence[at : at + 4].encode()) % PIECES for at in range(len(sentence) - 3)]
    tokens = TABLE[pieces]
    for weights in WEIGHTS:
        tokens = tokens + np.tanh(tokens @ weights)
    pooled = tokens.mean(axis=0)
    return pooled / np.linalg.norm(pooled)


def sentence(number: int) -> str:
    """A sentence of twelve words that no other number has."""
    chosen = np.random.default_rng(number).choice(WORDS, 12)
    return " ".join(chosen.tolist()) + f" {number}"


def job(_folder: Path, size: int) -> str:
    """Embed so many sentences, and compare each with the first."""
    embedded = np.array([embed(sentence(number)) for number in range(size)])
    return f"{embedded.shape}, nearest to the first: {int(np.argsort(embedded @ embedded[0])[-2])}"


if __name__ == "__main__":
    side_by_side(job, size=20_000)
