"""A cached coroutine function whose options look at results, as those of `kinds/conditional.py` do."""

from __future__ import annotations

import time

from pcache.config.conditions import Raised
from pcache.keys.dispatch import register_reducer
from pcache.kinds.conditional import Conditional, result_of
from pcache.kinds.coroutine import CachedCoroutine
from pcache.runtime import answers
from pcache.runtime.modes import mode
from pcache.runtime.tasks import Tasks, in_background
from pcache.startup import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class ConditionalCoroutine(Conditional, CachedCoroutine[P, T]):
    """A cached coroutine function with conditions, safe as any other.

    A result that is renewed while it serves is computed in a task of its own, for which nobody waits: a loop that ends
    cancels it, and the old result stays.
    """

    __slots__ = ("_conditions", "_late", "_renewing")

    def _keeping_errors(self, function: Callable[..., Any], kinds: tuple[type[Exception], ...]) -> Callable[..., Any]:
        async def run(*args: Any, **kwargs: Any) -> Any:
            try:
                return await function(*args, **kwargs)
            except kinds as error:
                return Raised(error, time.time_ns())

        return run

    async def _awaited(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], values: tuple[Any, ...] | None, *, refreshes: bool = False
    ) -> T:
        is_usual = not refreshes and not self._flow.passive and mode.get() is None
        if is_usual and self._conditions.checks_now():
            return await self.checked(*args, **kwargs)
        value: Any = await CachedCoroutine._awaited(self, args, kwargs, values, refreshes=refreshes)
        if self._late and not refreshes:
            await self._renew(args, kwargs)
        return result_of(value)  # type: ignore[no-any-return]

    async def checked(self, /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Compute this call anew, store the result and return it; warn once if it is not the one that was stored.

        Where nothing is stored, this is an ordinary call.
        """
        answer: Any = await answers.awaited(CachedCoroutine._awaited, self, (args, kwargs, None), {})
        if not answer.hit:
            return result_of(answer.value)  # type: ignore[no-any-return]
        after = await CachedCoroutine._awaited(self, args, kwargs, None, refreshes=True)
        self._compare(answer.value, after, args, kwargs)
        return result_of(after)  # type: ignore[no-any-return]

    async def _renew(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Compute a call anew in another task, if its result is late and no other one does."""
        this = await Tasks().of_arguments(self._to_renew, args, kwargs)
        if this is not None and not in_background(self._run, this, args, kwargs):
            self._renewing.discard(this)

    async def _run(self, this: tuple[int, str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Compute a call anew, unless another process does so or has done so just now."""
        found: BaseException | None = None
        try:
            if not self._is_renewed(this[1], args, kwargs):
                await CachedCoroutine._awaited(self, args, kwargs, None, refreshes=True)
        except Exception as error:  # noqa: BLE001 - the function's own, of which nobody hears otherwise
            found = error
        finally:
            self._renewed(this, found)


register_reducer(ConditionalCoroutine, lambda function, _encoder: function.__wrapped__)
