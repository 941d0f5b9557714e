"""Select entries by function, name or pattern, and name the functions of entries."""

from __future__ import annotations

import fnmatch
import itertools

from pcache.entry.inspector import inspect_file
from pcache.errors import ConfigError, DamagedEntry, Miss
from pcache.startup import TYPE_CHECKING, Protocol
from pcache.versions import registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pcache.entry.inspector import Inspection
    from pcache.storage.directory import Directory
    from pcache.storage.store import StoredFile
    from pcache.versions.registry import FunctionVersion


class Named(Protocol):
    """A cached function, by its name and the id of the version that runs."""

    @property
    def name(self) -> str: ...
    @property
    def function_id(self) -> str: ...


if TYPE_CHECKING:
    Selection = Named | str | tuple[Named | str, ...] | None

NAMELESS = "?"  # shown for a function whose name is not known
_SHOWN = 5  # names in a message
_NEAR = 0.6  # how alike a name has to be to be taken for what was meant; 1 is the same
_MOST_NAMELESS = 2000  # entries that are opened to find out their function: 0.1 s


def listing(directory: Directory, shards: Iterable[str] | None = None) -> tuple[list[StoredFile], dict[str, str]]:
    """All entries, or those of some shards, and the names of functions by id."""
    files = list(directory.store.scan(shards))
    return files, names_of(directory, files)


def names_of(
    directory: Directory, files: Iterable[StoredFile], known: Mapping[str, FunctionVersion] | None = None
) -> dict[str, str]:
    """The names of functions by id; for one whose registry file is lost, read from its smallest entry.

    `known` are the versions in the registry.
    """
    if known is None:
        known = registry.read_all(directory.functions, directory.keys.look())
    names = {function_id: facts.name for function_id, facts in known.items()}
    nameless: dict[str, StoredFile] = {}
    for item in files:
        if item.function_id not in names:
            smallest = nameless.setdefault(item.function_id, item)
            if item.length < smallest.length:
                nameless[item.function_id] = item
    for function_id, item in itertools.islice(nameless.items(), _MOST_NAMELESS):
        try:
            names[function_id] = str(inspect_entry(directory, item).meta["function"])
        except (Miss, KeyError):
            continue  # its name stays unknown
    return names


def selected_ids(names: Mapping[str, str], selection: Selection) -> set[str] | None:
    """The function ids that a function, a name, a part of a name or a pattern such as `pkg.*` selects; None for all.

    `names` are the known names by id. A cached function selects all its versions, several selections what each of them
    does. Raises `ConfigError` for a name that matches nothing.
    """
    return None if selection is None else {i for one in each(selection) for i in _selected(names, one)}


def each(selection: Selection) -> tuple[Named | str, ...]:
    """The functions and patterns of a selection."""
    if selection is None:
        return ()
    return selection if isinstance(selection, tuple) else (selection,)


def _selected(names: Mapping[str, str], selection: Named | str) -> set[str]:
    if not isinstance(selection, str):
        return {selection.function_id} | {i for i, name in names.items() if name == selection.name}
    found = {i for i, name in names.items() if _matches(name, i, selection)}
    if not found:
        message = f"no cached function matches {selection!r:.80}; {_nearest(names, selection)}"
        raise ConfigError(message, setting="function", value=selection)
    return found


def _matches(name: str, function_id: str, pattern: str) -> bool:
    if any(char in pattern for char in "*?["):
        return fnmatch.fnmatchcase(name, pattern)
    return pattern in (name, name.partition(":")[2], name.partition(":")[0], function_id)


def _nearest(names: Mapping[str, str], selection: str) -> str:
    import difflib  # late for start-up time

    known = sorted(set(names.values()))
    if not known:
        return "there are no results of any function here"
    spellings = {spelling: name for name in known for spelling in (name.partition(":")[2], name)}
    near = difflib.get_close_matches(selection, spellings, n=3, cutoff=_NEAR)
    nearest = list(dict.fromkeys(spellings[spelling] for spelling in near))
    if nearest:
        return "the nearest name is " + " or ".join(nearest)
    return "known functions: " + ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")


def select(files: Iterable[StoredFile], ids: set[str] | None) -> list[StoredFile]:
    return [item for item in files if ids is None or item.function_id in ids]


def inspect_entry(directory: Directory, item: StoredFile, *, buffers: bool = False, stream: bool = True) -> Inspection:
    keyring = directory.keys.look()
    if keyring is None:
        raise Miss("foreign", detail="there is no signing key here")
    inspection = inspect_file(item.path, keyring, buffers=buffers, stream=stream, open_it=directory.store.open)
    if inspection.header.key.hex() != item.key or inspection.header.function_id.hex() != item.function_id:
        raise DamagedEntry("it is the entry of another key")
    return inspection
