"""A pause of the automatic garbage collection, for work that makes many objects and no garbage."""

from __future__ import annotations

import gc


class uncollected:  # noqa: N801 - used as a function is
    """Collect no cycles meanwhile: each collection looks at all objects of the program, and would find none.

    A program that switched collection off finds it off afterwards.
    """

    def __enter__(self) -> None:
        self._was_on = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_on:
            gc.enable()
