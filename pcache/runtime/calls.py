"""From the arguments of a call to its key, its address, and the job of computing it.

One `Calls` for each cached function, which looks up entries itself; how callers ask it is here as well.
"""

from __future__ import annotations

import itertools
import os

from pcache.entry.format import new_tuple
from pcache.entry.reader import Address
from pcache.errors import Miss, Uncached, UnhashableArgument
from pcache.fingerprint.closure import Captured
from pcache.keys.binder import make_binder
from pcache.keys.encoder import digest, encode, nesting_with
from pcache.keys.spelling import spell
from pcache.layout import adopted_path, code_folder
from pcache.objects.lookup import look
from pcache.runtime.boundary import without_key
from pcache.runtime.likeness import Likeness
from pcache.startup import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, TypeVar, late
from pcache.system.fork import whole
from pcache.system.interrupts import attempt, try_call
from pcache.versions import version as versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pcache.config.options import Options
    from pcache.entry.reader import Loaded
    from pcache.fingerprint import known_code
    from pcache.fingerprint.fingerprint import Fingerprint
    from pcache.keys import named_files
    from pcache.keys.encoder import LargeContents
    from pcache.keys.named_files import NamedFile
    from pcache.runtime.flow import Flow
    from pcache.runtime.job import Job
    from pcache.runtime.jobs import Jobs
    from pcache.versions import adoption, kept_code, registry
    from pcache.versions.adoption import Adoption
    from pcache.versions.version import Version
else:
    adoption = late("pcache.versions.adoption")
    known_code = late("pcache.fingerprint.known_code")
    kept_code = late("pcache.versions.kept_code")
    named_files = late("pcache.keys.named_files")
    registry = late("pcache.versions.registry")

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
D = TypeVar("D")

_LONGEST = 1000  # bytes of an encoding that is looked up before it is hashed
_numbers = itertools.count()


class Call(NamedTuple):
    """One call of a cached function: its arguments, the `values` that count for the key, and its entry's address.

    `large` holds the digests of large contents, so that they are computed once.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    values: tuple[Any, ...]
    address: Address
    large: LargeContents


class Answer(NamedTuple, Generic[R_co]):
    """The result of a call, and how it was got.

    `hit` says that it was stored, by an earlier call or by one that this one waited for. `age` is how many seconds ago
    it was computed, 0 if it was just now. `cost` is the seconds that computing it took.
    """

    value: R_co
    hit: bool
    age: float
    cost: float


class Calls:
    """The calls of one function, for the code version that runs. Safe for threads."""

    def __init__(self, function: Callable[..., Any], itself: object, flow: Flow, options: Options) -> None:
        self.binder = make_binder(function, ignore=options.ignored_parameters, key_functions=options.key)
        self.label = versions.label_of(function)
        warns = options.files == "warn"
        self.bind = named_files.watching(self.binder, lambda: self.name) if warns else self.binder.bind
        self.options_digest = versions.digest_of_options(options, self.label)
        self._function = self.runs = function  # `runs` is what jobs call
        self._flow = flow
        self._options = options
        self._ttl_ns = None if options.ttl is None else int(options.ttl * 1e9)
        self._ignored = ignored = options.ignored_globals
        self._captured = Captured(function, itself, self.label, ignored) if look(function, "__closure__") else None
        self._token = b"%d " % next(_numbers)  # time to live and home belong to this object and are in its addresses
        self._version: Version | None = None
        self._jobs: Jobs | None = None  # made by the first miss

    @property
    def name(self) -> str:
        """`module:qualified.name`, from the version; for a function that cannot be cached, determined now."""
        try:
            return self.version.name
        except Uncached:
            return versions.shown_name(self._function, self.label)

    @property
    def waited(self) -> int:
        """How many calls got what another thread or process had computed meanwhile."""
        return self._jobs.waits.number if self._jobs else 0

    @property
    def version(self) -> Version:
        """The version that ran in the last call."""
        return self._version or self.find_version()

    def find_version(self) -> Version:
        """Find out which code runs, and which earlier versions' results count; once per function and process."""
        keyring, directory = self._flow.keys.keyring or try_call(self._flow.keys.look)[0], self._flow.directory
        if os.path.exists(code_folder(directory.location)):  # few programs are so large that anything is kept
            kept_code.load(directory.location, self._function, keyring)
        found = versions.find(self._function, self.label, self._options, self.binder, self._captured)
        if found.fingerprint.uncached:
            raise Uncached(found.fingerprint.uncached)
        if len(known_code.new) >= known_code.MOST_NEW and not directory.settings.read_only:
            kept_code.keep(directory.location, self._function, keyring, directory.access)
        if os.path.exists(adopted_path(directory.location, found.hex_id)):
            adopted = registry.read_adopted(directory.functions, found.hex_id, keyring)
            found = found._replace(continued=tuple(versions.continued(adopted, self.binder)))
        self._version = found
        return found

    def of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """Bind arguments; raises `TypeError` if they do not fit the signature, `UnhashableArgument` or `Uncached`."""
        large: LargeContents = {}
        try:
            values = self.binder.bind(*args, **kwargs)
            return Call(args, kwargs, values, self.address(values, large), large)
        except UnhashableArgument as error:
            if self._options.unhashable == "raise":
                raise
            raise without_key(error) from None

    def address(self, values: tuple[Any, ...], large: LargeContents) -> Address:
        """The address of a call's entry; adds the digests of large contents to `large`."""
        version = self._version
        if version is None or not (version.fingerprint.holds() or self._kept(version.fingerprint)):
            version = self.find_version()
        prefix = version.prefix + self._captured.digest(large, self._kept) if self._captured else version.prefix
        spelled, plain, spelling = self._flow.store.spelled, spell(values), b""
        if plain is not None:
            spelling = self._token + prefix + plain
            if (known := spelled.get(spelling)) is not None:
                return known
        nesting = nesting_with(large, self._ignored) if self._ignored else None
        chunks, error = try_call(encode, values, nesting, large)
        if error is not None:
            if type(error) is Uncached:
                raise error
            from pcache.keys.unhashable import unhashable_call  # late for start-up time: most calls have a key

            raise unhashable_call(self.label, self.binder.names, values, error) from error
        if not spelling and len(chunks) == 1 and len(chunks[0]) <= _LONGEST:
            spelling = self._token + prefix + chunks[0]
            if (known := spelled.get(spelling)) is not None:
                return known
        key = digest(prefix, chunks)
        name = f"{version.hex_id}-{key.hex()}"
        return new_tuple(Address, (name, key, version.function_id, self._ttl_ns, version.home, spelling))

    def _kept(self, fingerprint: Fingerprint) -> bool:
        """Whether a function that is running has changed only its own state: that does not make a new version."""
        from pcache.runtime.singleflight import computing  # late for start-up time: few functions change their state

        version = self._version
        if version is None or all(flight.function_id != version.function_id for flight in computing.get().values()):
            return False
        return fingerprint.absorb()

    def earlier(self, call: Call) -> Iterator[Address]:
        """Where adopted versions would have stored the result of a call."""
        keyring = self._flow.keys.keyring
        for earlier in self.version.continued if keyring else ():
            values = versions.values_before(call.values, earlier, keyring)  # type: ignore[arg-type]
            if values is not None:
                prefix = earlier.prefix + self._captured.digest() if self._captured else earlier.prefix
                key = digest(prefix, encode(values, nesting_with(call.large, self._ignored)))
                name = f"{earlier.hex_id}-{key.hex()}"
                yield Address(name, key, earlier.function_id, self._ttl_ns, self.version.home)

    def adopt(
        self,
        earlier: str | None,
        added: Mapping[str, Any],
        dry_run: bool,
        confirm: Callable[[Adoption], bool] | None,
    ) -> Adoption:
        """Take over the results of an earlier version; what `CachedFunction.adopt` says."""
        summaries = self._options.summaries is not False
        facts, directory = self.version.facts(), self._flow.directory
        adopter = adoption.Adopter(directory, facts, self.binder, self._options.key, summaries)
        outcome = adopter.adopt(earlier, added, dry_run=dry_run, confirm=confirm)
        if outcome.done:
            self.find_version()
        return outcome

    def shown(self, values: tuple[Any, ...]) -> str:
        """A call for people: `simulate(n=1000, seed=7)`; without values where these are not to be written down."""
        from pcache.objects.summary import in_one_line, summarize  # late for start-up time

        hidden = self._options.summaries is False
        return f"{self.label}({'...' if hidden else in_one_line(summarize(self.binder.names, values))})"

    def named_files(self, call: Call) -> tuple[NamedFile, ...]:
        """The files that arguments name by text or `Path`, which count by their names."""
        return attempt(tuple, named_files.find(self.binder.names, call.values))[0] or ()

    def job(self, call: Call, since_ns: int = 0, began_ns: int = 0) -> Job:
        """The job of computing a call, which began at a time of the performance counter, by default now.

        Made before the function runs, since that may change its arguments.
        """
        if self._jobs is None:
            with whole:
                from pcache.runtime.jobs import Jobs  # late for start-up time: a hit computes nothing

            self._jobs = Jobs(self.name, self.binder, self._function, self._options, self._captured, self.runs)
        return self._jobs.make(*call, self.version, since_ns, began_ns)


class Asking(Likeness[P, R]):
    """A function's calls that ask what is stored of it, and compute nothing."""

    __slots__ = ()

    if TYPE_CHECKING:
        _calls: Calls

        def _found(self, call: Call) -> Loaded: ...

    def key(self, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of this call, 40 hexadecimal digits; raises `Miss` for a call that cannot be cached."""
        return self._calls.of(args, kwargs).address.key.hex()

    def exists(self, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Whether this call has a live entry."""
        try:
            self._found(self._calls.of(args, kwargs))
        except Miss:
            return False
        return True

    def get(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the stored result of this call, or raise `Miss` with the reason; never computes."""
        call = self._calls.of(args, kwargs)
        try:
            return self._found(call).value  # type: ignore[no-any-return]
        except Miss as miss:
            miss.call = self._calls.shown(call.values)
            raise

    def get_or(self, default: D, /, *args: P.args, **kwargs: P.kwargs) -> R | D:
        """Return the stored result of this call, or `default` if there is none; never computes."""
        try:
            return self.get(*args, **kwargs)
        except Miss:
            return default
