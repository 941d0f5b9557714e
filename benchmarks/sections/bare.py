"""What is possible without any cache: plain files, written, read and mapped."""

from __future__ import annotations

import mmap
import os
import pickle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Run = Callable[[], object]


def bare_files(folder: str, cached: Any, keys: Iterable[str], results: Iterable[object]) -> list[tuple[str, int]]:
    """Pickles of `results` as plain files, as deep and under as long names as the entries of `keys`."""
    files = []
    for key, result in zip(keys, results, strict=True):
        path = os.path.join(folder, "bare", "v1", "entries", key[:2], f"{cached.function_id}-{key}")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        data = pickle.dumps(result, 5)
        with open(path, "wb") as file:
            file.write(data)
        files.append((path, len(data)))
    with open(os.path.join(folder, "bare", "paths"), "w", encoding="utf-8") as file:
        file.writelines(os.path.relpath(path, os.path.join(folder, "bare")) + "\n" for path, _ in files)
    return files


def reads(files: list[tuple[str, int]]) -> Run:
    """Open, read, close and unpickle each file, without a function call around it."""

    def run() -> None:
        for path, size in files:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            data = os.read(fd, size)
            os.close(fd)
            pickle.loads(data)

    return run


def loads(files: list[tuple[str, int]]) -> Run:
    def run() -> None:
        for path, _ in files:
            with open(path, "rb") as file:
                pickle.load(file)

    return run


def mapped(folder: str, value: object) -> Run:
    """Unpickle from a stream in memory, with the buffers mapped from a file."""
    stream, buffers = out_of_band(value)
    path = os.path.join(folder, "buffers")
    spans, end = [], 0
    with open(path, "wb") as file:
        for raw in buffers:
            file.write(raw)
            spans.append(slice(end, end + raw.nbytes))
            end += raw.nbytes

    def run() -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            view = memoryview(mmap.mmap(fd, end, access=mmap.ACCESS_COPY))
        finally:
            os.close(fd)
        pickle.loads(stream, buffers=[view[span] for span in spans])

    return run


def write(folder: str, value: object) -> Run:
    """Write the buffers of `value` to a temporary file and rename it."""
    _, views = out_of_band(value)
    path = os.path.join(folder, "bare")

    def run() -> None:
        fd = os.open(path + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        for view in views:
            done = 0
            while done < len(view):
                done += os.write(fd, view[done:])
        os.close(fd)
        os.rename(path + ".tmp", path)

    return run


def out_of_band(value: object) -> tuple[bytes, list[memoryview]]:
    """The pickle of a value, and its buffers."""
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(value, 5, buffer_callback=buffers.append)
    return stream, [buffer.raw() for buffer in buffers]
