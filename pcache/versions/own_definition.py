"""Compare the definition of a cached function: its options, its defaults, and other decorators.

These are no parts of a fingerprint. Options and parameters make the version together with it, defaults are part of the
keys of calls that leave them out, and the class of a method's instance is part of the keys of all.
"""

from __future__ import annotations

from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import attempt
from pcache.versions.differences import Difference
from pcache.versions.evaluation import evaluate
from pcache.versions.syntax import defaults_of, parameters_of
from pcache.versions.version import value_digest

if TYPE_CHECKING:
    from pcache.versions.comparison import Comparing
    from pcache.versions.makers import Maker

_KINDS = ("default", "option", "decorators", "instance", "settings")  # of what is recorded beside parts
_BY_VALUE = ("version", "ignore")  # options that are compared by what they are given


def compare(one: Comparing) -> None:
    """Compare the definition; where nothing of it was recorded, only `version=` and the parameters can be told."""
    name = one.version.name
    definition = one.makers.definition(*name.partition(":")[::2])
    if definition is None:
        return
    now = one.makers.of_cached(name) | one.makers.of_settings()
    _compare_version(one, now.get(f"option version {name}"))
    _compare_parameters(one, definition, now.get(f"option ignore {name}"))
    if one.recorded is None:  # a version that has none of it
        if defaults_of(definition) and not one.is_unedited():
            one.found.doubts.append(Difference("parameters", "with defaults", "changed"))
        return
    before = {label for label in one.recorded.made if label.split(" ")[0] in _KINDS}
    defaults = {label for label in before if label.startswith("default ")}
    if defaults != {label for label in now if label.startswith("default ")}:
        listed = ", ".join(defaults_of(definition)) or "none"
        one.found.edits.append(Difference("parameters", "with defaults", "changed", "", listed))
    for label in sorted(before | now.keys()):
        kind, option, *_ = label.split(" ")
        if option not in _BY_VALUE and (kind != "default" or label in before & now.keys()):
            _compare_maker(one, label, now.get(label))


def _compare_maker(one: Comparing, label: str, maker: Maker | None) -> None:
    before = one.made_before(label)
    now = None if maker is None else one.made_now(label, maker)
    if before == now:
        return
    kind, name, *_ = label.split(" ")
    is_own = before is None or now is None or before[0] != now[0]
    if kind == "default":
        one.found.calls.append(Difference("constant", name, "changed"))
    elif kind == "instance":
        found = Difference("class", name.rpartition(".")[0], "changed")
        (one.found.edits if is_own else one.found.doubts).append(found)
    elif kind == "settings":
        one.found.doubts.append(Difference("name", f"{name}, which {label.split(' ')[2]} sets,", "changed"))
    elif kind == "decorators":
        one.found.doubts.append(Difference("function", f"{name}, by a decorator,", "changed"))
    else:
        change = "added" if before is None else "removed" if now is None else "changed"
        found = Difference("key" if name == "key" else "depends_on", one.version.name, change)
        (one.found.edits if is_own else one.found.doubts).append(found)


def _compare_version(one: Comparing, given: Maker | None) -> None:
    label = f"option version {one.version.name}"
    digest, shown = one.version.parts.get("version", ("", ""))
    if given is None:
        if digest and one.made_before(label) is not None:
            one.found.edits.append(Difference("version", "", "removed", shown))
        return
    value, is_value = attempt(evaluate, one.makers, given.module, given.value)
    now, has_digest = attempt(value_digest, value) if is_value else ("", False)
    if not has_digest:
        if one.made_before(label) != one.made_now(label, given):
            one.found.doubts.append(Difference("version", "", "changed", shown))
    elif not digest:
        one.found.edits += [Difference("version", "", "added", "", repr(value))] if value is not None else []
    elif not one.is_digest("version", now, digest):
        one.found.edits.append(Difference("version", "", "changed", shown, repr(value)))


def _compare_parameters(one: Comparing, definition: Any, ignored: Maker | None) -> None:
    """The parameters that count: those of the definition without those that `ignore=` names."""
    left_out, is_known = attempt(evaluate, one.makers, ignored.module, ignored.value) if ignored else ((), True)
    counted = [name for name in parameters_of(definition) if name not in (left_out or ())]
    before = [name.removeprefix("key(").strip("*)/") for name in one.version.parameters]
    if is_known and set(counted) != set(before):
        shown = [f"({', '.join(names)})" for names in (before, counted)]
        one.found.edits.append(Difference("parameters", "", "changed", *shown))
