"""Makes the jobs of a cached function: what its calls that miss are computed with. Loaded by the first miss."""

from __future__ import annotations

from pcache.keys.argument_digests import Watch, digests_of
from pcache.keys.nesting import FILES, FINGERPRINT
from pcache.objects.summary import CAPTURED, summarize
from pcache.objects.user_code import is_user_code
from pcache.runtime.job import Job, Run, Waits
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.file_content import links_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pcache.config.options import Options
    from pcache.entry.reader import Address
    from pcache.fingerprint.closure import Captured
    from pcache.keys.binder import Binder
    from pcache.keys.encoder import LargeContents
    from pcache.system.file_content import Reading
    from pcache.versions.version import Version


class Jobs:
    """Makes the jobs of one cached function, which call `runs`. Safe for threads."""

    def __init__(
        self,
        name: str,
        binder: Binder,
        function: Callable[..., Any],
        options: Options,
        captured: Captured | None,
        runs: Callable[..., Any],
    ) -> None:
        self._binder = binder
        self._runs = runs
        self._options = options
        self._ignored = ignored = options.ignored_globals
        self._captured = captured
        self.waits = Waits()
        self._watch = Watch(name, binder, ignored, is_users=is_user_code(function))

    def make(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        values: tuple[Any, ...],
        address: Address,
        large: LargeContents,
        version: Version,
        since_ns: int,
        began_ns: int,
    ) -> Job:
        """The job of computing a call. Made before the function runs, since that may change its arguments."""

        def summary() -> dict[str, str]:
            shown = summarize(self._binder.names, values)
            if self._captured and (captured := self._captured.shown()):
                shown[CAPTURED] = captured
            return shown

        digests = digests_of(zip(self._binder.names, values, strict=True), large, self._ignored)
        if self._captured:
            digests[CAPTURED] = self._captured.digest()
        rests_on = [version.fingerprint, *([self._captured.fingerprint] if self._captured else [])]
        same_before = all(fingerprint.rest_holds() for fingerprint in rests_on)
        files = list(version.fingerprint.files)
        for (_, how), (_, found) in large.items():
            if how == FILES:
                files += found
            elif how == FINGERPRINT:
                rests_on.append(found)
        links = [links_to(file.path) for file in files]

        held: bool | None = None  # whether the code held after the run, unless other code may have run since then

        def code_holds() -> bool:
            return same_before and all(fingerprint.absorb() or fingerprint.held_anew() for fingerprint in rests_on)

        def look_again(cost_ns: int) -> None:
            nonlocal held
            holds = code_holds()  # first: later keys must not depend on what the run changed
            if not self._watch.look(values, digests, large, cost_ns):
                held = holds

        def inputs_hold() -> bool:
            if version.function_id != address.function_id or not (code_holds() if held is None else held):
                return False  # something that the code depends on changed since the key was made
            if files and not (_are_untouched(files) and links == [links_to(file.path) for file in files]):
                return False
            return version.fingerprint.imports_hold()

        def changes() -> list[str]:
            touched = [str(file.path) for file in files if not file.is_untouched()]
            return touched + [name for fingerprint in rests_on for name in fingerprint.changed_parts()]

        return Job(
            address,
            self._runs,
            args,
            kwargs,
            version.facts(),
            summary,
            digests,
            self._options.strict,
            self._options.lock_timeout,
            since_ns,
            self._options.summaries is not False,
            inputs_hold,
            Run(began_ns, self.waits),
            look_again,
            self._options.conditions,
            changes,
        )


def _are_untouched(files: Iterable[Reading]) -> bool:
    return all(file.is_untouched() for file in files)
