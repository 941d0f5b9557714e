"""What the programs of the zoo import: a way to tell whether a cached function ran, and the calls that each item gets.

A program runs three times with one cache: "first", "again" (another hash seed) and "edited" (other values in the
place of the items). That of the edits runs twice more: "reloaded", in which the edit is made while it runs, and
"restored", without the edit. What went wrong is said in short lines, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from pcache import UnhashableArgument
from pcache.errors import PcacheWarning

LOG = os.environ["ZOO_LOG"]


def ran() -> None:
    """Note that a cached function runs; what the note goes to is no part of any key."""
    with open(LOG, "ab", buffering=0) as file:
        file.write(b"x")


def runs() -> int:
    return os.path.getsize(LOG) if os.path.exists(LOG) else 0


class Item:
    """One item in one run of its program: calls functions with it and keeps what went wrong."""

    def __init__(self, name: str, *, may_refuse: bool = False, stored: bool = True) -> None:
        self.name, self.may_refuse, self.stored = name, may_refuse, stored
        self.faults: list[str] = []
        self.run = sys.argv[1]

    def call(self, what: str, function: Callable[[], Any], right: object, *, runs_now: bool | None) -> bool:
        """Call, and compare what comes back and whether it was computed, where that is known; False if nothing came."""
        before = runs()
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            try:
                value = function()
            except UnhashableArgument as error:
                if not self.may_refuse:
                    self.faults.append(f"{what}: refused: {error}"[:400])
                return False
            except BaseException as error:
                self.faults.append(f"{what}: raised {type(error).__name__}: {error}"[:400])
                return False
        said = [str(item.message) for item in given if issubclass(item.category, PcacheWarning)]
        ran_now = runs() > before
        if value != right:
            self.faults.append(f"{what}: wrong, {'computed' if ran_now else 'found'}: {value!r} for {right!r}"[:400])
        elif runs_now is not None and ran_now is not runs_now:
            self.faults.append(f"{what}: " + ("computed anew" if ran_now else "found, but nothing like it was stored"))
        if said:
            self.faults.append(f"{what}: warned: {said[0]}"[:400])
        return True

    def argument(
        self, make: Callable[[], Any], other: Callable[[], Any], take: Callable[[Any], Any], see: Callable[[Any], Any]
    ) -> None:
        """As an argument: one value has one key, used or not, and two values have two."""
        one, right, unlike = make(), see(make()), see(other())
        if right == unlike:
            self.faults.append(f"argument: the two look alike: {right}")
        fresh = self.run == "first"
        if not self.call("argument", lambda: take(one), right, runs_now=fresh):
            return
        self.call("argument, the same again", lambda: take(one), right, runs_now=False)
        self.call("argument, made again", lambda: take(make()), right, runs_now=False)
        self.call("argument, a different one", lambda: take(other()), unlike, runs_now=fresh)

    def as_global(self, read: Callable[[], Any], right: object) -> None:
        """As a global of the module: an edit of it is noticed, and nothing else is."""
        self.call("global", read, right, runs_now=self.run in ("first", "edited"))
        self.call("global, read again", read, right, runs_now=False)

    def reloaded(self, module: Any, edited: Callable[[], None]) -> None:
        """As a global that changes while the program runs: the function that was made before notices, too."""
        read = module.read
        edited()
        self.call("global, changed", read, module.look(), runs_now=None)

    def result(self, made: Callable[[], Any], see: Callable[[Any], Any], right: object) -> None:
        """As a result: what is loaded is what was returned."""
        fresh = self.run != "again"
        self.call("result", lambda: see(made()), right, runs_now=fresh if self.stored else None)
        self.call("result, loaded", lambda: see(made()), right, runs_now=False if self.stored else None)
        if not self.stored:
            self.faults = [fault for fault in self.faults if not fault.startswith("result: warned: ")]

    def say(self) -> None:
        sys.stdout.write(json.dumps([self.name, self.faults]) + "\n")
