"""How the definition of a cached function differs from that of a version: its options, its defaults, other decorators.

These are no parts of a fingerprint: options and parameters make the version together with it, and defaults are part of
the keys of calls that leave them out.
"""

from __future__ import annotations

from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import attempt
from pcache.versions import source_records
from pcache.versions.differences import Difference
from pcache.versions.evaluation import evaluate
from pcache.versions.makers import with_defaults
from pcache.versions.registry import part_digest
from pcache.versions.version import PART_DIGITS, value_digest

if TYPE_CHECKING:
    from pcache.signing.keyring import Keyring
    from pcache.versions.comparison import Comparison
    from pcache.versions.makers import Maker, Makers
    from pcache.versions.registry import FunctionVersion
    from pcache.versions.source_records import Recorded


def compare(
    version: FunctionVersion,
    recorded: Recorded | None,
    makers: Makers,
    definition: Any,
    keyring: Keyring,
    found: Comparison,
) -> None:
    """Add what differs to what was `found`. Where nothing was recorded, only `version=` and the parameters can be told."""
    now = makers.of_cached(version.name)
    made = {} if recorded is None else recorded.made
    options = {label.split()[1]: label for label in (*made, *now) if label.startswith("option ")}
    _compare_version(version, makers, now.get(f"option version {version.name}"), keyring, found, made)
    _compare_parameters(version, makers, definition, now.get(f"option ignore {version.name}"), found)
    if not made:
        return
    defaults = {label for label in made if label.startswith("default ")}
    if defaults != {label for label in now if label.startswith("default ")}:
        listed = ", ".join(with_defaults(definition)) or "none"
        found.edits.append(Difference("parameters", "with defaults", "changed", "", listed))
    for label in (*sorted(defaults & now.keys()), f"decorators {version.name}", *options.values()):
        option = label.split()[1]
        if option in ("version", "ignore"):
            continue  # told by their values
        maker = now.get(label)
        is_now = None if maker is None else source_records.digests(label, maker, version.signed_by, keyring)
        before = made.get(label)
        if before == is_now:
            continue
        if label.startswith("default "):
            found.calls.append(Difference("constant", option, "changed"))
        elif label.startswith("decorators "):
            found.doubts.append(Difference("function", f"{version.name}: a decorator", "changed"))
        else:
            is_sure = before is None or is_now is None or before[0] != is_now[0]
            change = "added" if before is None else "removed" if is_now is None else "changed"
            target = found.edits if is_sure else found.doubts
            target.append(Difference("depends_on" if option != "key" else "key", f"{version.name}", change))


def _compare_version(
    version: FunctionVersion,
    makers: Makers,
    given: Maker | None,
    keyring: Keyring,
    found: Comparison,
    made: dict[str, tuple[str, str]] | Any,
) -> None:
    before = version.parts.get("version")
    if given is None or given.value is None:
        if before is not None and f"option version {version.name}" in made:
            found.edits.append(Difference("version", "", "removed", before[1]))
        return
    value, is_value = attempt(evaluate, makers, given.module, given.value)
    if not is_value:
        label = f"option version {version.name}"
        if made.get(label) != source_records.digests(label, given, version.signed_by, keyring):
            found.doubts.append(Difference("version", "", "changed", before[1] if before else ""))
        return
    digest = attempt(value_digest, value)[0] or ""
    if before is None and value is not None:
        found.edits.append(Difference("version", "", "added", "", repr(value)))
    elif before is not None and part_digest("version", digest[:PART_DIGITS], version.signed_by, keyring) != before[0]:
        found.edits.append(Difference("version", "", "changed", before[1], repr(value)))


def _compare_parameters(
    version: FunctionVersion, makers: Makers, definition: Any, ignored: Maker | None, found: Comparison
) -> None:
    """The parameters that count: those of the definition without those that `ignore=` names."""
    left_out, is_known = attempt(evaluate, makers, ignored.module, ignored.value) if ignored else ((), True)
    arguments = definition.args
    listed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    counted = [one.arg for one in listed if one is not None and one.arg not in (left_out or ())]
    before = [name.removeprefix("key(").strip("*/)") for name in version.parameters]
    if is_known and set(counted) != set(before):
        found.edits.append(Difference("parameters", "", "changed", f"({', '.join(before)})", f"({', '.join(counted)})"))
