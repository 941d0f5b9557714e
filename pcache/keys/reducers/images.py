"""Pillow: images by mode, size, palette, pixels and what they say of themselves, not by the file they came from."""

from __future__ import annotations

from pcache.keys.dispatch import register_reducer
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.digests import digest_of

if TYPE_CHECKING:
    from pcache.keys.writer import Writer


def _image(image: Any, encoder: Writer) -> object:
    """A loaded image; an opened one is loaded here.

    Besides pixels its class counts, which says the format of the file, its `info` (transparency, resolution, profiles),
    TIFF's tags and JPEG's quantization.
    """
    if not type(image).__module__.startswith("PIL."):  # classes of other packages may hold more
        return NotImplemented
    if getattr(image, "is_animated", False):
        # Reading another frame would move the image, and Pillow keeps traces of its position.
        raise TypeError("it has several frames; pass a copy() of one, or the file as pcache.File")
    image.load()
    palette = image.palette and (image.palette.mode, image.getpalette(image.palette.mode))
    tags = dict(getattr(image, "tag_v2", None) or {})
    digest = encoder.once(image, lambda: digest_of(image.tobytes()).hex())
    return (image.mode, image.size, palette, digest, dict(image.info), tags, getattr(image, "quantization", None))


register_reducer("PIL.Image.Image", _image, subclasses=True)
