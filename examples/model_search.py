"""A search for the best model: a scikit-learn pipeline whose steps are cached, inside of a grid search.

    python examples/model_search.py
    python examples/model_search.py --size 300 --rounds 1

`Pipeline(memory=...)` takes a `pcache.Cache`. The step before the classifier is fitted once for each part of the
data, instead of once for each candidate, so that the first pass gains already.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from side_by_side import side_by_side
from sklearn.datasets import make_classification
from sklearn.feature_selection import SelectKBest, mutual_info_classif
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from pcache import cached, default_cache


@cached
def data(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Examples with many columns, of which few say anything."""
    examples, labels = make_classification(size, 40, n_informative=12, random_state=3)
    return examples, labels


def job(_folder: Path, size: int) -> str:
    """Search two numbers of columns and six strengths, each on three parts of the data."""
    examples, labels = data(size)
    steps = [
        ("scale", StandardScaler()),
        ("select", SelectKBest(partial(mutual_info_classif, random_state=0))),
        ("classify", LogisticRegression()),
    ]
    grid = {"select__k": [10, 20], "classify__C": [0.01, 0.03, 0.1, 0.3, 1.0, 3.0]}
    search = GridSearchCV(Pipeline(steps, memory=default_cache()), grid, cv=3)
    search.fit(examples, labels)
    return f"{search.best_score_:.4f} with {search.best_params_}"


if __name__ == "__main__":
    side_by_side(job, size=1_000)
