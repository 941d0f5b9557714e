"""Explain why a call hits or misses, and how it differs from stored calls.

Told from what entries and the registry say of themselves, which is authenticated. Only the entry asked for is loaded,
as a call would, and not even that for the command line; the others are not unpacked.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from pcache.counters import ledger, tombstones
from pcache.entry.format import NEVER
from pcache.entry.inspector import check_file, inspect_file
from pcache.errors import Miss, Uncached
from pcache.fingerprint.builders import BY_CLASS, IN_PART
from pcache.keys.argument_digests import signed
from pcache.objects.summary import arguments_of, in_one_line
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.text.units import format_duration
from pcache.versions.differences import Difference, of_arguments, of_versions
from pcache.versions.moments import ChangingGlobals, of_function
from pcache.versions.registry import read_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pcache.entry.format import Header
    from pcache.entry.reader import Address
    from pcache.keys.named_files import NamedFile
    from pcache.runtime.flow import Flow
    from pcache.storage.store import StoredFile
    from pcache.versions.registry import FunctionVersion

_LOOKED_AT = 500  # entries compared, the latest used first, of this version and of all others
_NEAREST = 3


@dataclass(frozen=True, slots=True)
class Nearby:
    """A stored call that is much like the one asked for, and all differences. Times are seconds since 1970."""

    key: str
    function_id: str
    arguments: str
    created: float
    cost: float
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The outcome of a call, and why.

    `reason` is "hit", a miss' reason, "disabled", "refreshing" or "uncached"; `detail` the evidence and `advice` what
    can be done, as sentences. `created`, `expires` (seconds since 1970) and `cost` (seconds) are those of the call's
    entry, if it can be read. `nearest` are the stored calls of the function that differ least, at most three.
    `by_class` names objects that the function uses and of which little more than the class is known. `changing_globals`
    are those that make the function another one in each process, so that no call of another process is found.
    `changed_files` says of files that arguments name by text or `Path` that they changed since the result was stored.
    """

    function: str
    arguments: str
    key: str
    function_id: str
    hit: bool
    reason: str
    detail: str = ""
    advice: str = ""
    created: float | None = None
    expires: float | None = None
    cost: float | None = None
    nearest: tuple[Nearby, ...] = ()
    by_class: tuple[str, ...] = ()
    changing_globals: ChangingGlobals | None = None
    changed_files: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join("  " * depth + text for depth, text in self.lines())

    def lines(self) -> Iterator[tuple[int, str]]:
        """The text with the depth of each line."""
        outcome = "hit" if self.hit else f"miss, {self.reason}"
        yield 0, f"{self.function.partition(':')[2]}({self.arguments}): {outcome}"
        if self.detail:
            yield 1, self.detail
        if self.created is not None and self.cost is not None:
            until = "" if self.expires is None or self.reason == "expired" else f", expires {_moment(self.expires)}"
            yield 1, f"made {_moment(self.created)} in {format_duration(self.cost)}{until}"
        for nearby in self.nearest:
            made = f"made {_moment(nearby.created)} in {format_duration(nearby.cost)}"
            yield 1, f"near: {nearby.key[:8]} ({nearby.arguments}), {made}"
            for difference in nearby.differences:
                yield 2, str(difference)
        for name in self.by_class:
            yield 1, f"{name}: an edit of it may go unnoticed; depends_on= can name what it is made of"
        for text in self.changed_files:
            yield 1, text
        if self.changing_globals is not None:
            yield 1, self.changing_globals.text
        if self.advice:
            yield 1, self.advice


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


class Question(NamedTuple):
    """A call to explain: the address of its entry, those in adopted versions, and what its key is made of."""

    flow: Flow
    facts: FunctionVersion
    address: Address
    earlier: Sequence[Address]
    digests: Mapping[str, bytes]
    arguments: Mapping[str, str]
    files: Sequence[NamedFile]  # that arguments name
    bypass: str  # why the cache is bypassed: "disabled", "refreshing", "uncached" or ""
    load: bool = True  # whether the entry is unpickled too, to find out whether it can be


def explain(question: Question) -> Explanation:
    """Explain what a call would find."""
    facts, address = question.facts, question.address
    reason, detail, header = _look(question)
    is_open = reason != "hit" and not question.bypass
    known = _versions(question) if is_open else {}
    nearest = _nearest(question, known) if is_open else []
    changing = _changing(question, known) if reason == "absent" else None
    if reason == "absent":
        detail = detail or _whereabouts(question, stored=bool(nearest))
    return Explanation(
        function=facts.name,
        arguments=in_one_line(question.arguments),
        key=address.key.hex(),
        function_id=facts.function_id,
        hit=reason == "hit",
        reason=reason,
        detail=detail,
        advice=_advice(facts, nearest) if changing is None else changing.advice,
        created=header and header.created_ns / 1e9,
        expires=header.expires_ns / 1e9 if header and header.expires_ns != NEVER else None,
        cost=header and header.cost_ns / 1e9,
        nearest=tuple(nearest),
        by_class=tuple(
            f"{label.partition(' ')[2]} counts {shown}"
            for label, (_, shown) in facts.parts.items()
            if label.startswith("making ") and shown.endswith((BY_CLASS, IN_PART))
        ),
        changing_globals=changing,
        changed_files=tuple(_changed(question.files, header)) if reason == "hit" and header else (),
    )


def _changed(files: Sequence[NamedFile], header: Header) -> Iterator[str]:
    """Sentences on files that arguments name, and that changed since a result was stored."""
    stored = header.created_ns / 1e9
    for file in files:
        if file.touched > stored:  # programs can set the time of the content back, but not this one
            how = "changed" if file.changed > stored else "may have changed"
            which, instead = (f"{file.path!r} ", repr(file.path)) if file.path else ("", "...")
            yield (
                f"argument {file.parameter}: the file {which}{how} since this result was stored, and counts by its name"
                f" alone; pcache.File({instead}) would have noticed"
            )


def of_uncached(function: str, error: Uncached) -> Explanation:
    """Explain a call that bypasses the cache: it has no key to look for."""
    return Explanation(
        function, "...", "", "", hit=False, reason="uncached", detail=f"{error.detail}: every call computes"
    )


def _look(question: Question) -> tuple[str, str, Header | None]:
    """The outcome of a call, the evidence for it, and the header of its entry."""
    flow, address = question.flow, question.address
    header = _header(flow, address)
    if question.bypass:
        return question.bypass, _BYPASSED[question.bypass], header
    try:
        return "hit", "", _find(question, address)
    except Miss as miss:
        reason, detail = miss.reason, miss.detail
    for place in question.earlier:
        try:
            adopted = _find(question, place)
        except Miss as miss:
            if reason == "absent" != miss.reason:
                what = f"the result of version {place.function_id.hex()}, which was adopted, cannot be used"
                detail = f"{what}: {miss.detail or miss.reason}"
            continue
        return "hit", f"stored by version {place.function_id.hex()}, which was adopted", adopted
    if reason == "expired" and header is not None:
        detail = _expiry(header, address.ttl_ns) or detail
    elif reason != "absent":
        detail = f"there is an entry that cannot be used: {detail}"
    return reason, detail, header


_BYPASSED = {
    "uncached": "it uses what is sent to it: every call computes",
    "disabled": "caching is off (disabled(), PCACHE_DISABLE or max_size=0): every call computes and nothing is stored",
    "refreshing": "refreshing (refreshing() or PCACHE_REFRESH): every call computes and replaces what is stored",
}


def _find(question: Question, address: Address) -> Header:
    """The header of a usable entry; raises `Miss`."""
    keyring = question.flow.keys.look()
    if question.load or keyring is None:
        return question.flow.look_up(address).header
    store = question.flow.store
    return check_file(store.place(address.name), address, keyring, time.time_ns(), store.open)


def _expiry(header: Header, ttl_ns: int | None) -> str:
    """When an entry expired; empty if it is from the future."""
    limit = min(header.expires_ns, NEVER if ttl_ns is None else header.created_ns + ttl_ns)
    ago = time.time() - limit / 1e9
    lived = format_duration((limit - header.created_ns) / 1e9)
    return f"it expired {format_duration(ago)} ago, {lived} after it was made" if ago >= 0 else ""


def _whereabouts(question: Question, *, stored: bool) -> str:
    """A sentence on why there is no entry."""
    flow = question.flow
    owner = flow.store.owner_at(flow.store.place(question.address.name), flow.keys.look())
    if owner is not None and not owner.is_dead():
        return f"it is being computed now, by process {owner.pid} on {owner.host.partition('/')[0]}"
    places = (question.address, *question.earlier)
    root, keyring = flow.directory.location, flow.keys.look()
    found = (tombstones.last(root, place.function_id.hex(), place.key.hex(), keyring) for place in places)
    removal = max((removal for removal in found if removal is not None), default=None)
    if removal is not None:
        return f"it was {removal.cause} {format_duration(max(0.0, time.time() - removal.when))} ago"
    return "this call was not stored before" if stored else "no call of this function is stored"


def _advice(facts: FunctionVersion, nearest: Sequence[Nearby]) -> str:
    """What to do about a miss that only the code explains."""
    if not nearest or nearest[0].function_id == facts.function_id or _distance(nearest[0]):
        return ""
    differences = nearest[0].differences
    added = [item.name for item in differences if (item.kind, item.change) == ("argument", "added")]
    others = any((item.kind, item.change) == ("argument", "removed") for item in differences)
    if others or (not added and any(item.kind == "parameters" for item in differences)):
        return ""  # such versions cannot be adopted
    if not added:
        return "if that does not change results, keep them: `pcache adopt`, or adopt() of the function"
    values = ", ".join(f"{name!r}: ..." for name in added)
    return f"if earlier calls did what they do now for some value, keep their results: adopt(added={{{values}}})"


def _header(flow: Flow, address: Address) -> Header | None:
    """The header of an entry that cannot be used."""
    keyring, store = flow.keys.look(), flow.store
    if keyring is None:
        return None
    try:
        return inspect_file(store.place(address.name), keyring, stream=False, open_it=store.open).header
    except Miss:
        return None


def _versions(question: Question) -> dict[str, FunctionVersion]:
    """The recorded versions of the function, by id."""
    flow, name = question.flow, question.facts.name
    known = read_all(flow.directory.functions, flow.keys.look())
    return {function_id: version for function_id, version in known.items() if version.name == name}


def _changing(question: Question, known: Mapping[str, FunctionVersion]) -> ChangingGlobals | None:
    """The globals that alone tell the last versions apart, the one that runs among them."""
    flow, keyring = question.flow, question.flow.keys.look()
    return of_function(known.values(), keyring, lambda: ledger.read(flow.directory.location, keyring), question.facts)


def _nearest(question: Question, recorded: Mapping[str, FunctionVersion]) -> list[Nearby]:
    """The stored calls of the same function that differ least: in arguments first, then in code."""
    flow, facts = question.flow, question.facts
    keyring = flow.keys.look()
    if keyring is None:
        return []
    known = {**recorded, facts.function_id: facts}
    changes = {function_id: of_versions(version, facts, keyring) for function_id, version in known.items()}
    digests = {key_id: signed(question.digests, key) for key_id, key in keyring.keys.items()}
    found = []
    for item in _latest(flow, known.keys(), facts.function_id):
        try:
            header, meta, *_ = inspect_file(item.path, keyring, stream=False, open_it=flow.store.open)
        except Miss:
            continue  # damaged, or removed meanwhile
        differences = _of_call(meta, digests[header.key_id], question.arguments) + changes[item.function_id]
        if item.key != question.address.key.hex():
            found.append(
                Nearby(
                    item.key,
                    item.function_id,
                    arguments_of(meta),
                    header.created_ns / 1e9,
                    header.cost_ns / 1e9,
                    differences,
                )
            )
    found.sort(key=lambda nearby: (_distance(nearby), len(nearby.differences), -nearby.created))
    return [nearby for nearby in found[:_NEAREST] if _distance(nearby) == _distance(found[0])]


def _distance(nearby: Nearby) -> int:
    """The number of arguments with another value; arguments that only one version has are differences of the code."""
    return sum(
        difference.kind in ("argument", "captured") and difference.change in ("changed", "unknown")
        for difference in nearby.differences
    )


def _latest(flow: Flow, ids: Any, own: str) -> list[StoredFile]:
    """The latest used entries of these versions, first those of the running one."""
    items = sorted((item for item in flow.store.scan() if item.function_id in ids), key=lambda item: -item.used_ns)
    running = [item for item in items if item.function_id == own]
    return running[:_LOOKED_AT] + [item for item in items if item.function_id != own][:_LOOKED_AT]


def _of_call(meta: Mapping[str, Any], now: Mapping[str, str], shown: Mapping[str, str]) -> tuple[Difference, ...]:
    before, shown_before = meta.get("digests", {}), meta.get("arguments", {})
    return of_arguments(before, now, shown_before if isinstance(shown_before, dict) else {}, shown)
