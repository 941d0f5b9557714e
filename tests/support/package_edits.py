"""Single edits of what functions of a package reach, each looked at by a process of its own.

A package is copied into a folder, so that it counts as the user's code. What its functions reach is read from the
labels of their fingerprints: functions, constants, and what makes state. An edit changes one node there.
"""

from __future__ import annotations

import ast
import json
import os
import random
import re
import shutil
import subprocess
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

from tests.support.mutants import edits_of, places
from tests.support.running import ROOT

# A process that has pcache in memory, and forks for each folder: what is imported there is new to the child.
ASK = """
import contextlib, importlib, inspect, json, os, pkgutil, random, sys, tempfile, warnings
warnings.simplefilter("ignore")
from pcache import Cache
from pcache.fingerprint.fingerprint import fingerprint_of

def functions_of(package, count, seed):
    own = [name for name in sys.modules if name.partition(".")[0] == package and inspect.ismodule(sys.modules[name])]
    names = sorted(
        f"{name}:{key}" for name in own for key, value in vars(sys.modules[name]).items()
        if inspect.isfunction(value) and value.__module__ == name and value.__qualname__ == key
    )
    return sorted(random.Random(seed).sample(names, min(count, len(names))))

def answer(folder, package, names, count, seed):
    sys.path.insert(0, folder)
    path = getattr(importlib.import_module(package), "__path__", [])
    for module in pkgutil.walk_packages(path, package + ".", onerror=lambda _: None):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(BaseException):  # what it needs may be missing
                importlib.import_module(module.name)
    found = {}
    for name in names or functions_of(package, count, seed):
        module, _, key = name.partition(":")
        function = getattr(importlib.import_module(module), key)
        with tempfile.TemporaryDirectory() as cache:
            found[name] = [Cache(cache).cached(function).function_id, sorted(fingerprint_of(function).parts)]
    return found

for folder, *question in json.load(sys.stdin):
    if not (child := os.fork()):
        try:
            found = answer(folder, *question)
            with open(folder + ".json", "w") as file:
                json.dump(found, file)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
"""
_LABEL = re.compile(r"(function|constant|making) ([\w.]+):([\w.]+?)(\.<locals>.*)?( \(.*\))?")
_AT_ONCE = 50  # copies of a package
_IN_VAIN = 300  # draws one after the other that find nothing new
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Edit(NamedTuple):
    """One edit, and the function that reaches what it changes."""

    function: str
    label: str
    title: str
    module: str
    text: str


class Outcome(NamedTuple):
    """How many edits were seen, by the kind of what they changed, and those that were not."""

    seen: dict[str, int]
    missed: list[Edit]


def copied(package: str, source: Path, folder: Path) -> Path:
    """Copy a package or module into a folder, each text as `ast.unparse` writes it."""
    if source.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / f"{package}.py")
    else:
        shutil.copytree(source, folder / package, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    for path in folder.rglob("*.py"):
        path.write_text(ast.unparse(ast.parse(path.read_text())))
    return folder


class Question(NamedTuple):
    """What is asked about the package in a folder: some functions by name, or `count` at random."""

    folder: Path
    package: str
    names: Sequence[str] = ()
    count: int = 0
    seed: str = ""


def asked(*questions: Question) -> list[dict[str, Any]]:
    """Ids and labels of functions, as a process of its own has them for each folder; none if an import fails there."""
    subprocess.run(
        [sys.executable, "-B", "-c", ASK],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=json.dumps([(str(one.folder), *one[1:]) for one in questions]),
        capture_output=True,
        text=True,
        check=True,
        timeout=1000,
    )
    answers = [one.folder.with_name(f"{one.folder.name}.json") for one in questions]
    return [json.loads(path.read_text()) if path.exists() else {} for path in answers]


def file_of(folder: Path, module: str) -> Path:
    """The file of a module of a copied package."""
    path = folder.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def nodes_of(tree: ast.Module) -> dict[str, list[ast.AST]]:
    """What may be edited, by the kind and name that a label has; not what has a name more than once."""
    found: dict[str, list[list[ast.AST]]] = defaultdict(list)
    inside: dict[str, list[ast.AST]] = defaultdict(list)
    for node, function in places(tree):
        inside[function].append(node)

    def visit(body: Sequence[ast.stmt], scope: str) -> None:
        for one in body:
            if isinstance(one, _FUNCTIONS):
                found[f"function {scope}{one.name}"].append(inside[scope + one.name])
            elif isinstance(one, ast.ClassDef):
                of_ints = any(ast.unparse(base).endswith(("IntEnum", "IntFlag")) for base in one.bases)
                # The members of such a class are integers, whatever type of number is written.
                visit(
                    [item for item in one.body if not (of_ints and isinstance(item, ast.Assign))], f"{scope}{one.name}."
                )
            elif isinstance(one, (ast.Assign, ast.AnnAssign)) and one.value is not None:
                for target in one.targets if isinstance(one, ast.Assign) else [one.target]:
                    if isinstance(target, ast.Name):
                        found[f"value {scope}{target.id}"].append(list(ast.walk(one.value)))

    visit(tree.body, "")
    return {name: nodes[0] for name, nodes in found.items() if len(nodes) == 1}


def edit_at_random(folder: Path, function: str, labels: Mapping[str, list[str]], rng: random.Random) -> Edit | None:
    """An edit of something that a function reaches; None if there was nothing to edit where it looked."""
    label = rng.choice(labels[rng.choice(sorted(labels))])
    matched = _LABEL.fullmatch(label)
    assert matched is not None
    kind, module, name = matched.group(1, 2, 3)
    path = file_of(folder, module)
    source = _read(path) if path.exists() else None
    nodes = source.nodes.get(f"{'function' if kind == 'function' else 'value'} {name}") if source else None
    nodes = _inside(nodes or [], matched.group(4) or "")
    node = rng.choice(nodes) if nodes else None
    edits = list(edits_of(node)) if node is not None else []
    if kind != "function":  # `A | B` and `B | A` are one value
        edits = [edit for edit in edits if edit[0] != "operands"]
    if source is None or node is None or not edits:
        return None
    line = ast.unparse(node).splitlines()[0] if hasattr(node, "lineno") else ""
    title, fields = rng.choice(edits)
    kept = {field: getattr(node, field) for field in fields if hasattr(node, field)}
    vars(node).update(fields)
    text = ast.unparse(source.tree)
    vars(node).update(kept)
    return (
        Edit(function, label, f"{title} in {line!r}", module, text)
        if _compiled(text) not in (None, source.code)
        else None
    )


def _inside(nodes: list[ast.AST], name: str) -> list[ast.AST]:
    """Those nodes of a function that lie in a function inside of it; what is around that runs at import."""
    for step in filter(None, name.split(".<locals>.")):
        inner = [node for node in nodes if isinstance(node, _FUNCTIONS) and node.name == step]
        below = {id(node) for node in ast.walk(inner[0])} if len(inner) == 1 else set()
        nodes = [node for node in nodes if id(node) in below and node is not inner[0]]
    return nodes


class _Source(NamedTuple):
    tree: ast.Module
    nodes: dict[str, list[ast.AST]]
    code: CodeType | None


@cache
def _read(path: Path) -> _Source:
    tree = ast.parse(path.read_text())
    return _Source(tree, nodes_of(tree), _compiled(path.read_text()))


def _compiled(text: str) -> CodeType | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return compile(text, "m", "exec")
    except SyntaxError:
        return None


def by_kind(package: str, labels: Sequence[str]) -> dict[str, list[str]]:
    """The labels of what can be edited, by kind."""
    found: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        matched = _LABEL.fullmatch(label)
        is_own = matched is not None and matched.group(2).partition(".")[0] == package
        if matched is not None and is_own and (matched.group(1) == "function" or not matched.group(5)):
            found[matched.group(1)].append(label)
    return found


def edits_at_random(folder: Path, package: str, functions: Mapping[str, Any], seed: str) -> Iterator[Edit]:
    """Edits of what some functions reach, none of them twice, until no more are found."""
    rng, made, vain = random.Random(seed), set(), 0
    reached = {name: by_kind(package, labels) for name, (_, labels) in functions.items()}
    reached = {name: labels for name, labels in reached.items() if labels}
    while reached and vain < _IN_VAIN:
        function, vain = rng.choice(sorted(reached)), vain + 1
        edit = edit_at_random(folder, function, reached[function], rng)
        if edit is not None and (edit.module, edit.text) not in made:
            made.add((edit.module, edit.text))
            vain = 0
            yield edit


def edited(folder: Path, edit: Edit, place: Path) -> Path:
    """A copy of a folder with an edit in it; all other files are links."""
    shutil.copytree(folder, place, copy_function=os.link)
    path = file_of(place, edit.module)
    path.unlink()
    path.write_text(edit.text)
    return place


def steady(folder: Path, package: str, functions: int, seed: str) -> dict[str, Any]:
    """Functions whose ids are the same for a copy in another folder: others know where they lie."""
    other = shutil.copytree(folder, folder.with_name(f"{folder.name}.other"), copy_function=os.link)
    (plain,) = asked(Question(folder, package, count=functions, seed=seed))
    assert plain, f"{package} cannot be imported"
    (again,) = asked(Question(other, package, tuple(plain)))
    shutil.rmtree(other)
    return {name: found for name, found in plain.items() if found == again[name]}


def hunt(folder: Path, package: str, edits: int, *, seed: str = "1", functions: int = 12) -> Outcome:
    """Make edits of a copied package, each in a copy of its own; an id that is the same there is a miss."""
    plain = steady(folder, package, functions, seed)
    outcome, tried = Outcome(defaultdict(int), []), 0
    made = edits_at_random(folder, package, plain, seed)
    while (left := edits - sum(outcome.seen.values()) - len(outcome.missed)) > 0 and tried < 10 * edits:
        if not (turn := list(islice(made, min(left, _AT_ONCE)))):
            break
        places = [folder.with_name(f"{folder.name}.{tried + i}") for i in range(len(turn))]
        tried += len(turn)
        folders = [edited(folder, one, at) for one, at in zip(turn, places, strict=True)]
        answers = asked(*(Question(at, package, (one.function,)) for at, one in zip(folders, turn, strict=True)))
        for edit, found in zip(turn, answers, strict=True):
            if found and found[edit.function][0] == plain[edit.function][0]:
                outcome.missed.append(edit)
            elif found:
                outcome.seen[edit.label.partition(" ")[0]] += 1
        for place in places:
            shutil.rmtree(place)
    return outcome
