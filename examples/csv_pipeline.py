"""Four stages of frames from a CSV file: read, clean, enrich, sum up.

    python examples/csv_pipeline.py                      # no cache, first pass, second pass
    python examples/csv_pipeline.py --size 2000 --rounds 1

Each stage is given the frame of the stage before, as most programs are written: frames count by what they hold. An edit
of a stage computes this one anew, and those after it only if its frame is another one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from side_by_side import side_by_side

from pcache import File, cached

STATIONS = 200
COLUMNS = ["temperature", "humidity", "wind", "pressure"]


@cached
def read(file: File) -> pd.DataFrame:
    """Parse the readings."""
    return pd.read_csv(file, parse_dates=["time"], dtype={"station": "int32"})


@cached
def clean(frame: pd.DataFrame, *, longest_gap: int = 6) -> pd.DataFrame:
    """Drop doubled readings and impossible values, and fill short gaps, station by station."""
    frame = frame.drop_duplicates(["station", "time"]).sort_values(["station", "time"], ignore_index=True)
    frame["temperature"] = frame["temperature"].where(frame["temperature"].between(-60, 60))
    filled = frame.groupby("station")[COLUMNS].transform(lambda one: one.interpolate(limit=longest_gap))
    return frame.assign(**{name: filled[name] for name in COLUMNS})


@cached
def enrich(frame: pd.DataFrame, *, window: int = 24) -> pd.DataFrame:
    """Add what models are given: extremes of the hours before, and how unusual each reading is."""
    rolling = frame.groupby("station")[COLUMNS].rolling(window, min_periods=1)
    mean, spread = rolling.mean().reset_index(drop=True), rolling.std().reset_index(drop=True)
    highest = rolling.max().reset_index(drop=True)
    added = {}
    for name in COLUMNS:
        added[f"{name}_unusual"] = ((frame[name] - mean[name]) / spread[name]).astype("float32")
        added[f"{name}_highest"] = highest[name].astype("float32")
    return frame.assign(**added)


@cached
def sum_up(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each station and day."""
    days = frame.groupby(["station", frame["time"].dt.floor("D")])
    return days[[f"{name}_unusual" for name in COLUMNS]].mean()


def write_readings(folder: Path, size: int) -> None:
    """A CSV file with so many readings, some missing, some doubled, some impossible."""
    random = np.random.default_rng(5)
    hours = np.arange(size) // STATIONS
    frame = pd.DataFrame({"station": np.arange(size) % STATIONS})
    frame["time"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(hours, unit="h")
    for name in COLUMNS:
        frame[name] = (random.normal(12, 8, size) + 10 * np.sin(hours / 24)).round(2)
        frame.loc[random.random(size) < 0.02, name] = np.nan
    frame.loc[random.random(size) < 0.001, "temperature"] = 999.0
    doubled = frame.sample(frac=0.01, random_state=5)
    pd.concat([frame, doubled]).to_csv(folder / "readings.csv", index=False)


def job(folder: Path, _size: int) -> str:
    """What a program does with the four frames."""
    raw = read(File(folder / "readings.csv"))
    cleaned = clean(raw)
    days = sum_up(enrich(cleaned))
    return f"{len(raw)} readings, {len(cleaned)} of them clean, {len(days)} days, {days.to_numpy().mean():.6f}"


if __name__ == "__main__":
    side_by_side(job, size=1_000_000, prepare=write_readings)
