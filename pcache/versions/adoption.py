"""Adopt the results of an earlier code version, after an edit that its author declares neutral.

The registry lists the versions whose results count as those of the new one, and a miss looks for them under their own
names. Nothing is renamed or copied, so the earlier version keeps its results too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from pcache.errors import ConfigError, DirectoryError, NothingToAdopt
from pcache.objects.summary import shown_as, summarize_value
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.system.interrupts import raise_if_interrupt, try_call
from pcache.versions import registry
from pcache.versions.differences import Difference, are_apart, of_versions
from pcache.versions.registry import Adopted
from pcache.versions.version import value_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pcache.keys.binder import Binder
    from pcache.storage.directory import Directory
    from pcache.versions.registry import FunctionVersion


_OF_CLASS = ("function", "class", "constant", "name")  # kinds of differences that also change a class of the user


@dataclass(frozen=True, slots=True)
class Adoption:
    """What `adopt` takes over: the `entries` of version `adopted` of a function, for the version that runs.

    `differences` lists what changed between the two; `added` are the parameters that the earlier one did not have, with
    their values in its calls. `done` is False for a plan, also for one that was not confirmed.
    """

    function: str
    function_id: str
    adopted: str
    first_seen: float
    entries: int
    differences: tuple[Difference, ...]
    added: Mapping[str, Any]
    done: bool = False

    def __str__(self) -> str:
        return "\n".join("  " * depth + text for depth, text in self.lines())

    def lines(self) -> Iterator[tuple[int, str]]:
        """The text with the depth of each line."""
        results = "1 result" if self.entries == 1 else f"{self.entries:,} results"
        yield 0, f"{self.function}: {results} of version {self.adopted}"
        for difference in self.differences:
            yield 1, str(difference)
        for name, value in self.added.items():
            yield 1, f"earlier calls count as calls with {name}={shown_as(name, summarize_value(value))}"
        if not self.differences:
            yield 1, "no difference was found"


class Adopter(NamedTuple):
    """The version that takes over."""

    directory: Directory
    facts: FunctionVersion
    binder: Binder
    key_functions: Mapping[str, Callable[[Any], object]]
    summaries: bool

    def adopt(
        self,
        earlier: str | None,
        added: Mapping[str, Any],
        *,
        dry_run: bool = False,
        confirm: Callable[[Adoption], bool] | None = None,
    ) -> Adoption:
        """Plan, ask `confirm`, and carry it out, unless it is a `dry_run`; the outcome says what was done."""
        plan = self.plan(earlier, added)
        if dry_run or (confirm is not None and not confirm(plan)):
            return plan
        self.carry_out(plan)
        return replace(plan, done=True)

    def plan(self, earlier: str | None, added: Mapping[str, Any]) -> Adoption:
        """Find the version to adopt, by default the latest whose parameters fit.

        Raises `NothingToAdopt`, and `ConfigError` for arguments that fit no version.
        """
        folder, keyring = self.directory.functions, self.directory.keys.look()
        known = registry.read_all(folder, keyring)
        entries = Counter(item.function_id for item in self.directory.store.scan())
        for name in added:
            if name not in self.binder.names:
                raise self._refusal(f"added= names {name!r}, which is no parameter that counts", "added")
        version = self._chosen(known, earlier) if earlier else self._latest(known, entries, added)
        if not self._fits(version, added):
            raise self._misfit(version)
        differences = tuple(
            difference for difference in of_versions(version, self.facts, keyring) if difference.kind != "parameters"
        )
        if self._is_method() and any(difference.kind in _OF_CLASS for difference in differences):
            raise self._refusal(
                "it counts its instance with the code of the class, which was edited, so no earlier call would be"
                " found; for the future, cache a function that the method calls, or use key={'self': ...}",
                "function",
            )
        return Adoption(
            self.facts.name,
            self.facts.function_id,
            version.function_id,
            version.first_seen,
            entries[version.function_id],
            differences,
            dict(added),
        )

    def carry_out(self, plan: Adoption) -> None:
        """Let the running version find the adopted results, and those that the adopted version had adopted itself."""
        directory = self.directory
        if directory.settings.read_only:
            raise self._refusal("the cache is read-only", "read_only")
        keyring = directory.keys.ensure()
        folder = directory.functions
        added = {
            name: registry.stands_for(self._digest(name, value), keyring.signing, keyring.signing_key)
            for name, value in plan.added.items()
        }
        before = registry.read_adopted(folder, plan.function_id, keyring, strictly=True)
        adopted = {version.function_id: version for version in before}
        adopted[plan.adopted] = Adopted(plan.adopted, added)
        for version in registry.read_adopted(folder, plan.adopted, keyring, strictly=True):
            adopted.setdefault(version.function_id, Adopted(version.function_id, {**added, **version.added}))
        adopted.pop(plan.function_id, None)
        try:
            registry.write(folder, self.facts, keyring, summaries=self.summaries, access=directory.access)
            registry.write_adopted(folder, plan.function_id, list(adopted.values()), keyring, directory.access)
        except DirectoryError:
            raise
        except OSError as error:
            raise_if_interrupt(error)
            raise DirectoryError(
                f"{self.facts.name} cannot adopt results: {folder} cannot be written ({error.strerror})",
                path=folder,
                reason="os",
            ) from error

    def _is_method(self) -> bool:
        """Whether the first argument of the key is the instance or class that the method belongs to."""
        return "." in self.facts.name.rpartition("<locals>.")[2] and self.facts.parameters[:1] in (("self",), ("cls",))

    def _digest(self, name: str, value: object) -> str:
        """The digest of a parameter's value as it counts for the key."""
        digest, error = try_call(lambda: value_digest(self._counted(name, value)))
        if error is not None:
            raise self._refusal(f"the value of added={{{name!r}: ...}} has no key ({error})", "added") from error
        return str(digest)

    def _counted(self, name: str, value: Any) -> object:
        """A parameter's value as it counts for the key, made as the binder does."""
        if name in self.key_functions:
            return self.key_functions[name](value)
        form = self.facts.parameters[self.binder.names.index(name)]
        return sorted(dict(value).items()) if form.startswith("**") else value

    def _fits(self, version: FunctionVersion, added: Mapping[str, Any]) -> bool:
        """Whether the parameters of an earlier version are those of this one without the added ones."""
        forms = zip(self.binder.names, self.facts.parameters, strict=True)
        return version.parameters == tuple(form for name, form in forms if name not in added)

    def _chosen(self, known: Mapping[str, FunctionVersion], earlier: str) -> FunctionVersion:
        found = [version for function_id, version in known.items() if function_id.startswith(earlier.lower())]
        if len(found) != 1:
            some = f"{len(found)} versions have ids that start" if found else "no version has an id that starts"
            raise self._refusal(f"{some} with {earlier!r:.40}", "from")
        if found[0].function_id == self.facts.function_id:
            raise self._refusal("that is the version that runs", "from")
        return found[0]

    def _latest(
        self, known: Mapping[str, FunctionVersion], entries: Mapping[str, int], added: Mapping[str, Any]
    ) -> FunctionVersion:
        found = [
            version
            for version in known.values()
            if version.name == self.facts.name and version.function_id != self.facts.function_id
        ]
        found = [version for version in found if entries[version.function_id]]
        found.sort(key=lambda version: version.first_seen)
        if not found:
            raise self._nothing("no earlier version of it has results here")
        # Another project's `script.py` may have a function of that name.
        elsewhere, found = found, [version for version in found if not are_apart(version, self.facts)]
        if not found:
            file, function_id = elsewhere[-1].file, elsewhere[-1].function_id
            raise self._refusal(f"its earlier results are of {file}; if that was moved, adopt {function_id}", "from")
        directory = self.directory
        adopted = registry.read_adopted(directory.functions, self.facts.function_id, directory.keys.look())
        known_already = {version.function_id for version in adopted}
        found = [version for version in found if version.function_id not in known_already]
        if not found:
            raise self._nothing("it has adopted all earlier versions that have results")
        fitting = [version for version in found if self._fits(version, added)]
        if not fitting:
            raise self._misfit(found[-1])
        return fitting[-1]

    def _misfit(self, version: FunctionVersion) -> ConfigError:
        now, before = self.facts.parameters, version.parameters
        new = [name for name, form in zip(self.binder.names, now, strict=True) if form not in before]
        hint = ""
        if set(before) < set(now):
            values = ", ".join(f"{name!r}: ..." for name in new)
            option = f"--added {new[0]}=..."
            hint = f"; if it did then what it does now for some value, give that with added={{{values}}} or {option}"
        return self._refusal(
            f"its parameters are ({', '.join(now)}) and were ({', '.join(before)}), so calls do not carry over{hint}",
            "added",
        )

    def _nothing(self, why: str) -> NothingToAdopt:
        return NothingToAdopt(f"{self.facts.name} has nothing to adopt: {why}", function=self.facts.name)

    def _refusal(self, why: str, setting: str) -> ConfigError:
        return ConfigError(f"{self.facts.name} cannot adopt results: {why}", setting=setting)
