"""Pillow in keys: what an image shows and says of itself counts, not the file it came from."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from pcache import Cache, UnhashableArgument
from tests.key_values import key_of
from tests.support.alike import Groups, check

if TYPE_CHECKING:
    from pathlib import Path

PIXELS = np.arange(48, dtype="u1").reshape(4, 4, 3)
FORMATS = "PNG JPEG GIF TIFF BMP WEBP PPM".split()


def file_of(image: Any, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def opened(data: bytes, *, load: bool = False) -> Any:
    image = Image.open(io.BytesIO(data))
    if load:
        image.load()
    return image


def with_palette(colors: list[int], kind: str = "RGB") -> Any:
    image = Image.new("P", (2, 2))
    image.putpalette(colors, kind)
    return image


def groups() -> Groups:
    """Images that are alike, and those that only look so."""
    image = Image.fromarray(PIXELS)
    made: Groups = {}
    for kind in FORMATS:
        data = file_of(image, kind)
        made[kind] = [opened(data), opened(data, load=True), opened(data)]
    larger = Image.new("RGB", (8, 4))
    larger.paste(image, (4, 0))
    resolution = file_of(image, "PNG", dpi=(300, 300))
    return made | {
        "image": [image, image.copy(), larger.crop((4, 0, 8, 4)), Image.frombytes("RGB", (4, 4), PIXELS.tobytes())],
        "other pixels": [Image.fromarray(PIXELS + 1)],
        "wide": [
            image.reshape((8, 2)) if hasattr(image, "reshape") else Image.frombytes("RGB", (8, 2), PIXELS.tobytes())
        ],
        "other mode": [image.convert("L")],
        "bits": [Image.new("1", (4, 4)), Image.new("L", (4, 4)).convert("1")],
        "bytes": [Image.new("L", (4, 4))],
        "palette": [with_palette([1, 2, 3, 4, 5, 6])],
        "other palette": [with_palette([1, 2, 3, 4, 5, 7])],
        "palette with transparency": [with_palette([1, 2, 3, 4, 5, 6, 7, 8], "RGBA")],
        "palette with other transparency": [with_palette([1, 2, 3, 0, 5, 6, 7, 8], "RGBA")],
        "with a resolution": [opened(resolution), opened(resolution, load=True)],
        "array": [PIXELS],
    }


def test_alike() -> None:
    """An image that was only opened is the one that was loaded; mode, size, palette, pixels and info count."""
    check(groups())


def test_the_place_of_a_file_does_not_matter(tmp_path: Path) -> None:
    """Two files of one content are one image; another content is another."""
    for name, pixels in (("a.png", PIXELS), ("b.png", PIXELS), ("c.png", PIXELS[::-1])):
        Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / name)
    keys = []
    for name in ("a.png", "b.png", "c.png"):
        with Image.open(tmp_path / name) as image:
            keys.append(key_of(image))
    assert keys[0] == keys[1] != keys[2]


def test_tags_count() -> None:
    """What a TIFF says of itself in its tags is part of the image."""
    made = [opened(file_of(Image.fromarray(PIXELS), "TIFF", description=text)) for text in ("one", "one", "two")]
    assert key_of(made[0]) == key_of(made[1]) != key_of(made[2])


def test_images_of_several_frames_have_no_key(tmp_path: Path) -> None:
    """They depend on the frame they are at: the error says what to pass instead, and one frame has a key."""
    frames = [Image.new("L", (4, 4), 50 * i) for i in range(3)]
    image = opened(file_of(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    cached = Cache(tmp_path / "cache", signing_key=bytes(32)).cached(repr)
    with pytest.raises(UnhashableArgument, match=r"obj is a GifImageFile: it has several frames; .*pcache\.File"):
        cached(image)
    assert key_of(image.copy()) == key_of(image.copy())
