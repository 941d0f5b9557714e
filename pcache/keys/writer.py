"""The interface of an encoder for reducers. For types only: nothing imports this."""

from __future__ import annotations

from pcache.startup import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.keys.nesting import Nesting

T = TypeVar("T")


class Writer(Protocol):
    """An encoder, as reducers know it."""

    nesting: Nesting

    def nested(self, value: object) -> bytes:
        """The digest of a value that is encoded separately, inside a set or function that `part` writes."""

    def part(self, owner: object, write: Callable[[], Any]) -> Any:
        """Encode a set or function; `write` builds its content from digests."""

    def once(self, owner: object, compute: Callable[[], T], how: str = "content") -> T:
        """Compute something about `owner` once for all passes and encodings of a call."""

    def set_content(self, members: Any) -> Any:
        """The members of a set in an order that does not depend on the hash seed."""
