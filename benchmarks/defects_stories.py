"""Stories of `defects.py`: scripts that run one after the other; values must be right, and work must be done once.

They are data: what is called with which right results, or a text with the word FACTOR in it, which is 2 in the first
run and 3 in the second, so that `f(10)` is 20 and then 30.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

from defects_bench import DECORATORS, LOST, NONE, OK, WRONG, Bench, Outcome, count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Step(NamedTuple):
    """One process of a story, and the files that are saved before it."""

    text: str
    file: str = "script.py"
    env: Mapping[str, str] = {}
    files: Mapping[str, str] = {}


class Story(NamedTuple):
    """Scripts that share a cache, the executions they need together, and what a wrong value means."""

    title: str
    group: str
    needed: int
    steps: Sequence[Step]
    fault: str = "the other call's result"
    option: str = ""  # the decorator, of those that not every cache has, which the scripts use


def tell(story: Story, bench: Bench) -> Outcome:
    """Run a story; values weigh more than hangs, those more than exceptions, and those more than needless work."""
    if f"def {story.option}" not in DECORATORS[bench.tool]:
        return Outcome(NONE, "no such option")
    runs = []
    for step in story.steps:
        for name, text in step.files.items():
            bench.save(name, textwrap.dedent(text))
        runs.append(bench.run(step.text, step.file, step.env))
    if any(run.wrong for run in runs):
        return Outcome(WRONG, story.fault)
    if any(run.hung for run in runs):
        return Outcome(WRONG, "hangs")
    errors = [run.error for run in runs if run.error]
    if errors:
        return Outcome(LOST, f"raises {errors[0]}")
    if not all(run.right for run in runs):
        raise RuntimeError("a script said nothing")
    if bench.executions > story.needed:
        return Outcome(LOST, f"right, but {count(bench.executions)}, not {story.needed}")
    return Outcome(OK, f"right, {count(bench.executions)}")


def checked(definition: str, *checks: tuple[str, str]) -> list[Step]:
    """Return one script: a definition, and calls with their right results."""
    lines = [f"expect({call}, {right})" for call, right in checks]
    return [Step("\n".join([textwrap.dedent(definition), *lines]))]


def state(body: str, right: str, file: str = "script.py", helper: str = "n", comment: str = "") -> Step:
    """Return one state of a script that is edited between its runs."""
    text = f"""
        def helper(n):
            return {helper}
        @cached
        def f(n):
            {comment}
            ran()
            return {body}
        expect(f(10), {right})
    """
    return Step(text, file)


def edit(script: str, files: Mapping[str, str]) -> list[Step]:
    """Return two runs of a script, the second one after an edit: the word FACTOR is 2, then 3."""
    return [
        Step(
            f"{textwrap.dedent(script)}\nexpect(f(10), {10 * int(factor)})".replace("FACTOR", factor),
            files={name: text.replace("FACTOR", factor) for name, text in files.items()},
        )
        for factor in "23"
    ]


def seeds(step: Step) -> list[Step]:
    """Return a step for each of five hash seeds."""
    return [step._replace(env={"PYTHONHASHSEED": str(seed)}) for seed in range(1, 6)]


def texts(*values: str) -> list[Step]:
    """Return one script that calls a function of one argument with each of several values, and gets their texts."""
    return checked(REPR, *[(f"f({value})", repr(value)) for value in values])


# Arguments and keys

ANYTHING = """
    @cached
    def f(*args, **kwargs):
        ran()
        return args, kwargs
"""
SUM = """
    import numpy
    @cached
    def f(values):
        ran()
        return float(values.sum())
    values = numpy.arange(20.0)
    zeros = numpy.zeros(10_000)
    ones = zeros.copy()
    ones[5_000] = 1
"""
APPLY = """
    @cached
    def f(function):
        ran()
        return function(10)
    up, down = lambda x: x + 1, lambda x: x - 1
"""
SUCCESSOR = """
    @cached
    def f(x):
        ran()
        return x + 1
"""
CONCATENATE = """
    @cached
    def f(pair):
        ran()
        return pair[0] + pair[1]
    t = [1, 2]
"""
MODEL = """
    class Model:
        def __init__(self, factor):
            self.factor = factor
        @cached
        def scale(self, n):
            ran()
            return self.factor * n
"""
SORT = """
    @cached
    def f(words):
        ran()
        return sorted(words)
    words = "alpha beta gamma delta epsilon zeta eta theta".split()
"""
NOTHING = """
    @cached
    def f(n):
        ran()
"""
COUNT_UP = """
    @cached
    def f(n):
        ran()
        yield from range(n)
"""
POOL = """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    @cached
    def f(n):
        ran()
        return n + 1
    if __name__ == "__main__":
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            expect(list(pool.map(f, [1, 2])), [2, 3])
"""
REPR = """
    @cached
    def f(value):
        ran()
        return repr(value)
"""
NANS = """
    from decimal import Decimal
    @cached
    def f(values):
        ran()
        return len(values)
    values = {Decimal("NaN"): 1}
"""
FRAMES = """
    import pandas
    @cached
    def f(frame):
        ran()
        return frame.to_csv()
    whole = pandas.DataFrame({"a": [1, 2], "b": [3, 4]})
    grown = pandas.DataFrame({"a": [1, 2]})
    grown["b"] = [3, 4]
    renamed = whole.rename(columns={"b": "c"})
"""
DEFAULT = """
    @cached
    def f(n, factor=2):
        ran()
        return n * factor
"""
SESSION = """
    def f(n, session):
        ran()
        return n * 2
    f = cached_ignoring_session(f)
"""
POINT = """
    class Point:
        def __init__(self, x):
            self.x = x
    @cached
    def f(point):
        ran()
        return point.x
"""
CHANGED = """
    @cached
    def f(values):
        ran()
        return sum(values)
    values = [1, 2]
    expect(f(values), 3)
    values[0] = 5
    expect(f(values), 7)
"""
CLOSURES = """
    def made(factor):
        @cached
        def f(n):
            ran()
            return n * factor
        return f
"""
PARTIALS = """
    from functools import partial
    @cached
    def f(function):
        ran()
        return function(10)
    def times(factor, n):
        return factor * n
"""
SORTED = checked(SORT, ("f(frozenset(words))", "sorted(words)"))[0]
SORTED_SET = checked(SORT, ("f(set(words))", "sorted(words)"))[0]

# Title, executions that are needed, steps.
KEYS: list[tuple[str, int, list[Step]]] = [
    (
        "`f(1, None, 'a', 5)` and `f(1, a=5)`, `f(1, None, 'a')` and `f(1, a=None)` of `f(*args, **kwargs)`",
        4,
        checked(
            ANYTHING,
            ("f(1, None, 'a', 5)", "((1, None, 'a', 5), {})"),
            ("f(1, a=5)", "((1,), {'a': 5})"),
            ("f(1, None, 'a')", "((1, None, 'a'), {})"),
            ("f(1, a=None)", "((1,), {'a': None})"),
        ),
    ),
    (
        "`f(5)` and `f(__varargs_0__=5)` of `f(*args, **kwargs)`",
        2,
        checked(ANYTHING, ("f(5)", "((5,), {})"), ("f(__varargs_0__=5)", "((), {'__varargs_0__': 5})")),
    ),
    (
        "`f('a b', 'c')` and `f('a', 'b c')`",
        2,
        checked(ANYTHING, ("f('a b', 'c')", "(('a b', 'c'), {})"), ("f('a', 'b c')", "(('a', 'b c'), {})")),
    ),
    ("`1`, `1.0`, `True`, `'1'` and `b'1'`", 5, texts("1", "1.0", "True", "'1'", "b'1'")),
    ("`0.0` and `-0.0`, `(1, 2)` and `[1, 2]`", 4, texts("0.0", "-0.0", "(1, 2)", "[1, 2]")),
    ("dicts in another order", 2, texts("{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}")),
    (
        "keyword arguments in another order, to a function that sees it",
        2,
        checked(ANYTHING, ("list(f(a=1, b=2)[1])", "['a', 'b']"), ("list(f(b=2, a=1)[1])", "['b', 'a']")),
    ),
    (
        "two views of one array, `a[:10]` and `a[10:]`",
        2,
        checked(SUM, ("f(values[:10])", "45.0"), ("f(values[10:])", "145.0")),
    ),
    ("two arrays that differ in the middle", 2, checked(SUM, ("f(zeros)", "0.0"), ("f(ones)", "1.0"))),
    ("a list that was changed between two calls", 2, [Step(CHANGED)]),
    ("two lambdas of one line as arguments", 2, checked(APPLY, ("f(up)", "11"), ("f(down)", "9"))),
    (
        "two partials of one function as arguments",
        2,
        checked(PARTIALS, ("f(partial(times, 2))", "20"), ("f(partial(times, 3))", "30")),
    ),
    (
        "two functions made by one, with different captured values",
        2,
        checked(CLOSURES, ("made(2)(10)", "20"), ("made(3)(10)", "30"), ("made(2)(10)", "20")),
    ),
    (
        "method decorated in the class body, instances of different state",
        2,
        checked(MODEL, ("Model(2).scale(10)", "20"), ("Model(3).scale(10)", "30"), ("Model(2).scale(10)", "20")),
    ),
    (
        "equal and different instances of a class of the script, in two processes",
        2,
        checked(POINT, ("f(Point(1))", "1"), ("f(Point(2))", "2")) * 2,
    ),
    ("`f(1)` and `f(x=1)`", 1, checked(SUCCESSOR, ("f(1)", "2"), ("f(x=1)", "2"))),
    ("`f(10)` and `f(10, 2)`, where 2 is the default", 1, checked(DEFAULT, ("f(10)", "20"), ("f(10, 2)", "20"))),
    (
        "equal arguments of other identity, `[t, t]` and `[t, copy of t]`",
        1,
        checked(CONCATENATE, ("f([t, t])", "[1, 2, 1, 2]"), ("f([t, list(t)])", "[1, 2, 1, 2]")),
    ),
    ("frozenset of strings, in five processes with different hash seeds", 1, seeds(SORTED)),
    ("set of strings, in five processes with different hash seeds", 1, seeds(SORTED_SET)),
    ("`Decimal('NaN')` as a dict's key, in two processes", 1, checked(NANS, ("f(values)", "1")) * 2),
    (
        "equal DataFrames with another internal history",
        1,
        checked(FRAMES, ("f(whole)", "whole.to_csv()"), ("f(grown)", "whole.to_csv()")),
    ),
    (
        "DataFrames that differ in a column's name",
        2,
        checked(FRAMES, ("f(whole)", "whole.to_csv()"), ("f(renamed)", "renamed.to_csv()")),
    ),
]


# Code

STALE = "stale: the result of the old code"
TWICE, THRICE = state("n * 2", "20"), state("n * 3", "30")


def calling(expression: str) -> str:
    """Return the text of an `f(n)` that returns an expression."""
    return f"""
    @cached
    def f(n):
        ran()
        return {expression}
"""


HELPER = """
    def helper(n):
        return n * FACTOR
"""
MIDDLE = """
    def middle(n):
        return helper(n)
"""
WITH_DEFAULT = """
    def helper(n, factor=FACTOR):
        return n * factor
"""
SHAPE = """
    class Base:
        def scaled(self, n):
            return n * FACTOR
    class Shape(Base):
        pass
"""
OF_SHAPE = """
    @cached
    def of(shape):
        ran()
        return shape.scaled(10)
    def f(n):
        return of(Shape())
"""
WRAPS = """
    from functools import wraps
    def decorator(function):
        @wraps(function)
        def wrapper(*args):
            return function(*args)
        return wrapper
    @decorator
    def helper(n):
        return n * FACTOR
"""
LRU_CACHE = """
    from functools import lru_cache
    @lru_cache
    def helper(n):
        return n * FACTOR
"""
WITHIN = """
    @cached
    def f(n):
        from h import helper
        ran()
        return helper(n)
"""
AS_DEFAULT = """
    @cached
    def f(n, helper=helper):
        ran()
        return helper(n)
"""
PACKAGE = {
    "pkg/__init__.py": "",
    "pkg/h.py": HELPER,
    "pkg/mod.py": "    from bench import *\n    from . import h\n" + calling("h.helper(n)"),
}
SETTINGS = """
    class Settings:
        def __init__(self, factor):
            self.factor = factor
    SETTINGS = Settings(FACTOR)
"""
ORDERED = """
    from collections import OrderedDict
    RATES = OrderedDict(a=FACTOR)
"""
FRAME = """
    import pandas
    FRAME = pandas.DataFrame({"a": [FACTOR]})
"""
DEPENDING = """
    import h
    @cached_depending_on(h.helper)
    def f(n):
        ran()
        return getattr(h, "".join(["hel", "per"]))(n)
"""
BY_TEXT = "helper edited, reached by `getattr(h, 'helper')`"
BY_COMPUTED_NAME = "helper edited, reached by a name that is computed"
NEW_PARAMETER = "parameter with a default added"
# What is edited between two runs: title, script, other files.
EDITS: list[tuple[str, str, dict[str, str]]] = [
    ("function edited", calling("n * FACTOR"), {}),
    ("helper edited", HELPER + calling("helper(n)"), {}),
    ("helper's helper edited", HELPER + MIDDLE + calling("middle(n)"), {}),
    ("helper of another module edited, `h.helper(n)`", "    import h\n" + calling("h.helper(n)"), {"h.py": HELPER}),
    ("the same, `from h import helper`", "    from h import helper\n" + calling("helper(n)"), {"h.py": HELPER}),
    ("the same, imported inside of the function", WITHIN, {"h.py": HELPER}),
    ("the same in a package, `from . import h`", "    from pkg.mod import f\n", PACKAGE),
    ("helper with a decorator (`functools.wraps`) edited", WRAPS + calling("helper(n)"), {}),
    ("helper with `functools.lru_cache` edited", LRU_CACHE + calling("helper(n)"), {}),
    ("helper in a table edited", HELPER + "    TABLE = {'a': helper}\n" + calling("TABLE['a'](n)"), {}),
    ("helper that is a default argument edited", HELPER + AS_DEFAULT, {}),
    ("default argument of a helper edited", WITH_DEFAULT + calling("helper(n)"), {}),
    ("method of a helper class edited", SHAPE + calling("Shape().scaled(n)"), {}),
    ("method of an argument's class edited", SHAPE + OF_SHAPE, {}),
    ("number of the module edited", "    RATE = FACTOR\n" + calling("n * RATE"), {}),
    ("number of another module edited, `h.RATE`", "    import h\n" + calling("n * h.RATE"), {"h.py": "RATE = FACTOR"}),
    ("dict of the module edited", "    RATES = {'a': [1, FACTOR]}\n" + calling("n * RATES['a'][1]"), {}),
    ("`OrderedDict` of the module edited", ORDERED + calling("n * RATES['a']"), {}),
    ("object of the module with another attribute", SETTINGS + calling("n * SETTINGS.factor"), {}),
    ("DataFrame of the module with another value", FRAME + calling("n * int(FRAME['a'].sum())"), {}),
    (BY_TEXT, "    import h\n" + calling("getattr(h, 'helper')(n)"), {"h.py": HELPER}),
    (BY_COMPUTED_NAME, "    import h\n" + calling("getattr(h, ''.join(['hel', 'per']))(n)"), {"h.py": HELPER}),
]
# IPython keeps the source of cells in linecache, under the name of a temporary file.
CELL = r"""
    import linecache
    text = "@cached\ndef f(n):\n    ran()\n    return n * 2\n"
    name = "/tmp/ipykernel_PID/1234.py"
    linecache.cache[name] = len(text), None, text.splitlines(True), name
    exec(compile(text, name, "exec"), globals())
    expect(f(10), 20)
"""
MODULE = """
    from bench import *
    @cached
    def f(n):
        ran()
        return n * 2
    if __name__ == "__main__":
        expect(f(10), 20)
"""
PATCHED = """
    import h
    @cached
    def f(n):
        ran()
        return h.helper(n)
    expect(f(10), 20)
    h.helper = lambda n: n * 3
    expect(f(10), 30)
"""
REDEFINED = """
    def helper(n):
        return n * 2
    @cached
    def f(n):
        ran()
        return helper(n)
    expect(f(10), 20)
    def helper(n):
        return n * 3
    expect(f(10), 30)
"""
ONE_LINE = """
    up, down = cached(lambda n: (ran(), n + 1)[1]), cached(lambda n: (ran(), n - 1)[1])
"""
LITERAL = """
    @cached
    def f(word):
        ran()
        return word in {"north", "south", "east", "west"}
"""
BARE = """
    @cached
    def f(n):
        ran()
        return n * 2
    expect(f(10), 20)
"""
MOVED = "\n\n    above = 1\n" + BARE.replace("ran()", '"""Double it."""\n\n        ran()')
MORE = BARE.replace("f(n)", "f(n, factor=2)")

CODE: list[tuple[str, int, list[Step]]] = [
    *((title, 2, edit(script, files)) for title, script, files in EDITS),
    ("helper replaced while the program runs", 2, [Step(PATCHED, files={"h.py": HELPER.replace("FACTOR", "2")})]),
    ("helper defined again, as by a notebook's cell", 2, [Step(REDEFINED)]),
    ("function edited, edit reverted", 2, [TWICE, THRICE, TWICE]),
    ("comment added", 1, [TWICE, state("n * 2", "20", comment="# twice")]),
    ("docstring added, function moved down", 1, [Step(BARE), Step(MOVED)]),
    (NEW_PARAMETER, 1, [Step(BARE), Step(MORE)]),
    (
        "set literal in the function's body, in five processes with different hash seeds",
        1,
        seeds(checked(LITERAL, ("f('north')", "True"))[0]),
    ),
    ("function of a notebook's cell, in two kernels", 1, [Step(CELL.replace("PID", pid)) for pid in ("101", "102")]),
    (
        "`python script.py`, then `import script`",
        1,
        [Step(MODULE), Step("import script\nexpect(script.f(10), 20)", "user.py")],
    ),
]


# Results and processes

COROUTINE = """
    import asyncio
    @cached
    async def f(n):
        ran()
        return n * 2
"""
LOKY = """
    from joblib import Parallel, delayed
    @cached
    def f(n):
        ran()
        return n + 1
    if __name__ == "__main__":
        expect(Parallel(2)(delayed(f)(n) for n in [1, 2]), [2, 3])
        expect([f(1), f(2)], [2, 3])
"""
OTHERS: list[tuple[str, str, int, list[Step]]] = [
    ("None as a result, called again by a new process", "storage", 1, checked(NOTHING, ("f(1)", "None")) * 2),
    (
        "a generator as a result, called twice",
        "storage",
        1,
        checked(COUNT_UP, ("list(f(3))", "[0, 1, 2]"), ("list(f(3))", "[0, 1, 2]")),
    ),
    (
        "a coroutine function, awaited twice",
        "storage",
        1,
        checked(COROUTINE, ("asyncio.run(f(10))", "20"), ("asyncio.run(f(10))", "20")),
    ),
    ("decorated function sent to a process pool by plain pickle", "processes", 2, [Step(POOL)]),
    ("decorated function of a script sent to joblib's workers (loky)", "processes", 2, [Step(LOKY)]),
]

STORIES = [
    *(Story(title, "keys", needed, steps) for title, needed, steps in KEYS),
    Story(
        "two cached lambdas of one line",
        "keys",
        2,
        checked(ONE_LINE, ("up(10)", "11"), ("down(10)", "9")),
        "the other function's result",
    ),
    Story(
        "functions of the same name in two scripts",
        "keys",
        2,
        [state("n * 2", "20", "one.py"), state("n * 3", "30", "two.py"), state("n * 2", "20", "one.py")],
        "the other script's result",
    ),
    Story(
        "an ignored argument, by name and by position",
        "keys",
        1,
        checked(SESSION, ("f(10, session=1)", "20"), ("f(10, session=2)", "20"), ("f(10, 3)", "20")),
        option="cached_ignoring_session",
    ),
    *(Story(title, "code", needed, steps, STALE) for title, needed, steps in CODE),
    Story(
        "the computed name again, with the helper given to the cache's option for that",
        "code",
        2,
        edit(DEPENDING, {"h.py": HELPER}),
        STALE,
        "cached_depending_on",
    ),
    *(Story(title, group, needed, steps, "another value") for title, group, needed, steps in OTHERS),
]
