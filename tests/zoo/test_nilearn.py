"""nilearn takes `pcache.joblib.Memory` for joblib's, and its maskers give what they give without a memory."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("joblib")
pytest.importorskip("nibabel")

from pcache.joblib import Memory

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    maskers = pytest.importorskip("nilearn.maskers")


@pytest.mark.filterwarnings("ignore")
def test_maskers(tmp_path: Path) -> None:
    """Signals of a mask and of labelled regions, filtered and smoothed; the second time nothing is computed."""
    import nibabel
    import numpy as np

    def image(data: Any) -> Any:
        return nibabel.Nifti1Image(data, np.eye(4) * 3)

    scan = image(np.random.default_rng(0).normal(size=(6, 6, 6, 20)).astype("float32"))
    mask, labels = (
        image(np.ones((6, 6, 6), "uint8")),
        image(np.repeat(np.arange(1, 7), 36).reshape(6, 6, 6).astype("int32")),
    )
    memory = Memory(tmp_path, verbose=0)
    found, misses = [], []
    for chosen in ({}, *({"memory": memory, "memory_level": 5} for _ in range(2))):
        whole = maskers.NiftiMasker(mask_img=mask, smoothing_fwhm=4, **chosen)
        regions = maskers.NiftiLabelsMasker(labels_img=labels, detrend=True, t_r=2.0, low_pass=0.1, **chosen)
        found.append([whole.fit_transform(scan), regions.fit_transform(scan)])
        misses.append(memory.store_backend.cache.stats().misses)
    for one, other in zip(found[0] * 2, found[1] + found[2], strict=True):
        assert np.array_equal(one, other)
    assert misses[0] == 0 < misses[1] == misses[2]
