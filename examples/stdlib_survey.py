"""Survey Python's standard library: what is big, what is tangled, what everything leans on, what was copied.

Ordinary analysis code, slow because it takes 300,000 lines apart. The only trace of pcache is `@cached` on five
functions, and that is enough: run it again and every stage answers from disk. Edit one file of the library and it alone
is measured again, because the functions are given *contents*, never paths.

    python stdlib_survey.py                      # tables and charts in the terminal
    python stdlib_survey.py --svg survey.svg     # and a scatter plot of size against complexity
    PCACHE_DISABLE=1 python stdlib_survey.py     # what it costs without the cache
"""

from __future__ import annotations

import argparse
import ast
import difflib
import io
import keyword
import math
import os
import platform
import sys
import sysconfig
import time
import tokenize
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
from rich import box
from rich.bar import Bar
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from pcache import CachedFunction, cached

T = TypeVar("T")
Hashes: TypeAlias = npt.NDArray[np.uint64]
Scores: TypeAlias = npt.NDArray[np.float64]
Edges: TypeAlias = npt.NDArray[np.int32]
FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

# The test suite is three fifths of the tree and would drown the library it tests.
SKIPPED_DIRECTORIES = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"})

TOP = 10  # rows in a table
COMPARABLE_LINES = 20  # below this many lines of code two files are alike by accident
ALIKE = 0.15  # estimated Jaccard similarity from which a pair is worth a line-by-line look
FAMILY = 0.5  # and from which two files count as copies of one another
RANK_TOLERANCE = 1e-10

BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)
LAYOUT = frozenset(
    {tokenize.ENCODING, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)


# What is measured


@dataclass(frozen=True)
class Function:
    """One function or method of a file."""

    name: str
    lines: int
    complexity: int
    nesting: int


@dataclass(frozen=True)
class Import:
    """One imported name; `level` counts the leading dots, `name` is None for a plain `import module`."""

    level: int
    module: str
    name: str | None


@dataclass(frozen=True)
class FileMetrics:
    """Everything the survey wants to know about one source file."""

    lines: int
    code_lines: int
    comment_lines: int
    docstring_lines: int
    classes: int
    functions: tuple[Function, ...]
    imports: tuple[Import, ...]
    documented: int
    documentable: int
    identifier_bits: float

    @property
    def complexity(self) -> int:
        """Return the sum over all functions."""
        return sum(function.complexity for function in self.functions)


@dataclass(frozen=True)
class Passage:
    """The longest run of lines that two files share, and how much of the shorter file recurs in the longer."""

    lines: int
    first_line: int
    second_line: int
    recurring: float


@dataclass(frozen=True)
class Module:
    """A file of the library under the name by which it is imported."""

    name: str
    is_package: bool
    source: bytes


# The stages: pure functions from content to result


@cached
def measure(source: bytes) -> FileMetrics | None:
    """Measure one file; None if it is not valid Python.

    None rather than an exception: exceptions are not stored, and a broken file would be parsed again in every run.
    """
    try:
        tree = parse(source)
        tokens = tokenized(source)
    except (SyntaxError, ValueError, tokenize.TokenError):
        return None
    docstrings = docstring_lines(tree)
    comments, occupied = comment_and_code_lines(tokens)
    documented, documentable = docstring_coverage(tree)
    names = Counter(t.string for t in tokens if t.type == tokenize.NAME and not keyword.iskeyword(t.string))
    return FileMetrics(
        lines=len(source.splitlines()),
        code_lines=len(occupied - docstrings),
        comment_lines=len(comments - occupied),
        docstring_lines=len(docstrings),
        classes=sum(isinstance(node, ast.ClassDef) for node in ast.walk(tree)),
        functions=tuple(measure_function(name, node) for name, node in functions_of(tree)),
        imports=tuple(imports_of(tree)),
        documented=documented,
        documentable=documentable,
        identifier_bits=entropy(names),
    )


@cached
def signature(source: bytes, *, shingle: int = 4, hashes: int = 256) -> Hashes:
    """Return the MinHash signature of a file: for each of `hashes` hash functions its minimum over all token shingles.

    Two signatures agree in a position with a probability equal to the Jaccard similarity of the two shingle sets.
    """
    shingles = np.unique(token_shingles(source, shingle))
    seeds = scramble(np.arange(1, hashes + 1, dtype=np.uint64))
    # One hash function at a time: the full table of a large file would not fit the processor's cache.
    return np.array([scramble(shingles ^ seed).min() for seed in seeds], dtype=np.uint64)


@cached
def similarity_matrix(signatures: Hashes) -> Scores:
    """Estimate the Jaccard similarity of every pair of files from the `(files, hashes)` signatures."""
    similar = np.empty((len(signatures), len(signatures)))
    for row, one in enumerate(signatures):
        similar[row] = (signatures == one).mean(axis=1)
    return similar


@cached
def shared_passage(first: bytes, second: bytes) -> Passage:
    """Compare two files line by line, blind to indentation."""
    one, two = code_text(first), code_text(second)
    matcher = difflib.SequenceMatcher(None, [text for _, text in one], [text for _, text in two], autojunk=False)
    blocks = matcher.get_matching_blocks()
    longest = max(blocks, key=lambda block: block.size)
    recurring = sum(block.size for block in blocks) / max(1, min(len(one), len(two)))
    if not longest.size:
        return Passage(0, 0, 0, 0.0)
    return Passage(longest.size, one[longest.a][0], two[longest.b][0], recurring)


@cached
def rank_modules(edges: Edges, nodes: int, *, resamples: int = 400, damping: float = 0.85) -> Scores:
    """Return PageRank, its 5 % and its 95 % bootstrap quantile as the rows of a `(3, nodes)` array.

    The bootstrap draws the import statements with replacement: a rank that hangs on one importer gets a wide interval.
    """
    if not len(edges):
        return np.full((3, nodes), 1 / max(1, nodes))
    random = np.random.default_rng(20)
    rank = pagerank(edges, np.ones(len(edges)), nodes, damping)
    weights = random.multinomial(len(edges), np.full(len(edges), 1 / len(edges)), size=resamples)
    resampled = np.array([pagerank(edges, weight, nodes, damping) for weight in weights])
    return np.vstack([rank, np.quantile(resampled, [0.05, 0.95], axis=0)])


# Helpers of the stages


def parse(source: bytes) -> ast.Module:
    """Parse without repeating the library's own invalid escapes and deprecations to the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def tokenized(source: bytes) -> list[tokenize.TokenInfo]:
    """Return all tokens of a file."""
    return list(tokenize.tokenize(io.BytesIO(source).readline))


def comment_and_code_lines(tokens: Iterable[tokenize.TokenInfo]) -> tuple[set[int], set[int]]:
    """Return the numbers of the lines that hold comments, and of those that hold anything else."""
    comments: set[int] = set()
    occupied: set[int] = set()
    for token in tokens:
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.type not in LAYOUT:
            occupied.update(range(token.start[0], token.end[0] + 1))
    return comments, occupied


def docstring_lines(tree: ast.Module) -> set[int]:
    """Return the numbers of all lines that belong to a docstring."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | FunctionNode) and ast.get_docstring(node, clean=False):
            text = node.body[0]
            lines.update(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return lines


def docstring_coverage(tree: ast.Module) -> tuple[int, int]:
    """Count the public classes and functions with a docstring, and all of them; the module itself is one more."""
    public = [
        node
        for node in ast.walk(tree)
        if (isinstance(node, ast.Module) and node.body)
        or (isinstance(node, ast.ClassDef | FunctionNode) and not node.name.startswith("_"))
    ]
    return sum(ast.get_docstring(node, clean=False) is not None for node in public), len(public)


def functions_of(tree: ast.Module) -> Iterator[tuple[str, FunctionNode]]:
    """Yield every function with its qualified name."""
    # A stack, not recursion: generated code can nest deeper than the interpreter recurses.
    pending: list[tuple[ast.AST, str]] = [(tree, "")]
    while pending:
        parent, prefix = pending.pop()
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.ClassDef | FunctionNode):
                pending.append((node, f"{prefix}{node.name}."))
            else:
                pending.append((node, prefix))
            if isinstance(node, FunctionNode):
                yield prefix + node.name, node


def measure_function(name: str, function: FunctionNode) -> Function:
    """Measure one function; functions nested in it count for themselves."""
    complexity, nesting = 1, 0
    for node, depth in statements_and_depth(function):
        nesting = max(nesting, depth)
        complexity += isinstance(node, BRANCHES)
        if isinstance(node, ast.BoolOp):
            complexity += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            complexity += 1 + len(node.ifs)
    return Function(name, (function.end_lineno or function.lineno) - function.lineno + 1, complexity, nesting)


def statements_and_depth(function: FunctionNode) -> Iterator[tuple[ast.AST, int]]:
    """Yield the nodes of a function body and the number of blocks around each, that node's own included."""
    pending: list[tuple[ast.AST, int]] = [(node, 0) for node in function.body]
    while pending:
        node, depth = pending.pop()
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        depth += isinstance(node, BLOCKS)
        yield node, depth
        for child in ast.iter_child_nodes(node):
            # The tree has no `elif`: it is an `if` alone in the other's `else`, and no deeper for the reader.
            chained = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
            pending.append((child, depth - chained))


def imports_of(tree: ast.Module) -> Iterator[Import]:
    """Yield what a file imports, at its top or inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(0, alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import(node.level, node.module or "", alias.name) for alias in node.names)


def entropy(counts: Counter[str]) -> float:
    """Return the bits per identifier: how hard it is to guess the next one."""
    total = counts.total()
    return sum(count / total * math.log2(total / count) for count in counts.values())


def scramble(values: Hashes) -> Hashes:
    """Mix 64-bit integers so that every input bit reaches every output bit (the finaliser of SplitMix64)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def token_shingles(source: bytes, size: int) -> Hashes:
    """Return one hash for each run of `size` tokens, layout and comments left out."""
    ignored = LAYOUT | {tokenize.COMMENT}
    # crc32, not hash(): the latter differs from one process to the next.
    tokens = [zlib.crc32(token.string.encode()) for token in tokenized(source) if token.type not in ignored]
    tokens += [0] * (size - len(tokens))
    values = np.array(tokens, dtype=np.uint64)
    count = len(values) - size + 1
    shingles = np.zeros(count, dtype=np.uint64)
    for offset in range(size):
        shingles = scramble(shingles ^ values[offset : offset + count])
    return shingles


def code_text(source: bytes) -> list[tuple[int, str]]:
    """Return the lines that are not blank or comments, stripped, each with its number."""
    # Split before decoding: to a str a form feed ends a line, to an editor it does not.
    lines = [line.strip().decode("utf-8", "replace") for line in source.splitlines()]
    return [(number, line) for number, line in enumerate(lines, start=1) if line and not line.startswith("#")]


def pagerank(edges: Edges, weights: npt.NDArray[Any], nodes: int, damping: float) -> Scores:
    """Rank the nodes of a graph of `(importer, imported)` rows by power iteration."""
    importers, imported = edges.T
    out = np.bincount(importers, weights, nodes)
    share = weights / np.maximum(out, 1)[importers]
    rank = np.full(nodes, 1 / nodes)
    while True:
        stuck = rank[out == 0].sum()
        flow = np.bincount(imported, share * rank[importers], nodes)
        update: Scores = (1 - damping + damping * stuck) / nodes + damping * flow
        if np.abs(update - rank).sum() < RANK_TOLERANCE:
            return update
        rank = update


# From files to a graph and to families: cheap, so not cached


def find_modules() -> list[Module]:
    """Read the library of the running interpreter, in an order that does not depend on the file system."""
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in SKIPPED_DIRECTORIES]
        paths += [Path(folder, name) for name in files if name.endswith(".py")]
    return [module_of(root, path.relative_to(root)) for path in sorted(paths)]


def module_of(root: Path, path: Path) -> Module:
    """Read one file below `root`."""
    is_package = path.name == "__init__.py"
    parts = path.parent.parts if is_package else path.with_suffix("").parts
    return Module(".".join(parts), is_package, (root / path).read_bytes())


def import_graph(
    modules: Sequence[Module], metrics: Sequence[FileMetrics], in_c: Iterable[str]
) -> tuple[list[str], Edges]:
    """Return the names of all nodes, those in C last, and the `(importer, imported)` edges.

    Modules written in C have no source here, but they are imported like any other: they are nodes without imports.
    """
    names = [module.name for module in modules] + sorted(in_c)
    index = {name: position for position, name in enumerate(names)}
    edges = {
        (index[module.name], index[target])
        for module, measured in zip(modules, metrics, strict=True)
        for imported in measured.imports
        if (target := resolve(module, imported, index)) and target != module.name
    }
    return names, np.array(sorted(edges), dtype=np.int32).reshape(-1, 2)


def resolve(module: Module, imported: Import, known: dict[str, int]) -> str | None:
    """Return the most specific known module that an import statement reaches."""
    parts = imported.module.split(".") if imported.module else []
    if imported.level:
        package = module.name.split(".")
        climb = imported.level - module.is_package
        parts = package[: len(package) - climb] + parts
    if imported.name:
        parts = [*parts, imported.name]
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in known), None)


def families_of(similar: Scores, threshold: float) -> list[list[int]]:
    """Group files that are linked by pairs above the threshold, largest group first."""
    unseen = set(range(len(similar)))
    families = []
    while unseen:
        family, pending = [], [min(unseen)]
        while pending:
            member = pending.pop()
            if member in unseen:
                unseen.remove(member)
                family.append(member)
                pending += [int(other) for other in np.flatnonzero(similar[member] >= threshold)]
        if len(family) > 1:
            families.append(sorted(family))
    return sorted(families, key=len, reverse=True)


def alike_pairs(modules: Sequence[Module], similar: Scores) -> list[tuple[int, int]]:
    """Return the most alike pair of each two packages, most alike first.

    One pair only: the character tables of `encodings` alone would otherwise fill every list.
    """
    rows, columns = np.triu_indices(len(similar), k=1)
    scores = similar[rows, columns]
    best: dict[tuple[str, ...], tuple[int, int]] = {}
    for position in np.argsort(-scores, kind="stable")[: int((scores >= ALIKE).sum())]:
        one, two = int(rows[position]), int(columns[position])
        packages = tuple(modules[member].name.partition(".")[0] for member in (one, two))
        best.setdefault(packages, (one, two))
    return list(best.values())


# The survey


@dataclass(frozen=True)
class Stage:
    """How one cached function fared in this run."""

    name: str
    calls: int
    hits: int
    seconds: float


@dataclass(frozen=True)
class Survey:
    """Everything the report shows; `pairs`, `families` and `similar` index into `comparable`."""

    modules: list[Module]
    metrics: list[FileMetrics]
    broken: int
    nodes: list[str]
    edges: Edges
    ranks: Scores
    comparable: list[Module]
    similar: Scores
    families: list[list[int]]
    pairs: list[tuple[int, int]]
    passages: list[Passage]


def conduct(limit: int | None, stages: list[Stage]) -> Survey:
    """Run all stages, noting in `stages` what each took."""
    library = find_modules()
    found = library[:limit]
    measured = each(stages, measure, "measuring", [(module.source,) for module in found])
    pairs = [(module, metrics) for module, metrics in zip(found, measured, strict=True) if metrics is not None]
    modules, metrics = [module for module, _ in pairs], [metrics for _, metrics in pairs]

    comparable = [module for module, metrics in pairs if metrics.code_lines >= COMPARABLE_LINES]
    signatures = np.array(each(stages, signature, "signing", [(module.source,) for module in comparable]))
    [similar] = each(stages, similarity_matrix, "comparing", [(signatures,)])
    families = families_of(similar, FAMILY)
    alike = alike_pairs(comparable, similar)
    texts = [(comparable[one].source, comparable[two].source) for one, two in alike]
    passages = each(stages, shared_passage, "reading side by side", texts)

    in_c = sys.stdlib_module_names - {module.name for module in library}
    nodes, edges = import_graph(modules, metrics, in_c)
    [ranks] = each(stages, rank_modules, "ranking", [(edges, len(nodes))])
    broken = len(found) - len(modules)
    return Survey(modules, metrics, broken, nodes, edges, ranks, comparable, similar, families, alike, passages)


def each(stages: list[Stage], function: CachedFunction[..., T], verb: str, calls: Sequence[tuple[Any, ...]]) -> list[T]:
    """Call a cached function once per argument tuple, with a progress bar for a person who watches."""
    console = Console(stderr=True)
    started, before = time.perf_counter(), function.cache_info().hits
    silent = not sys.stderr.isatty()
    results = [function(*call) for call in track(calls, verb, console=console, transient=True, disable=silent)]
    hits = function.cache_info().hits - before
    stages.append(Stage(function.__wrapped__.__name__, len(calls), hits, time.perf_counter() - started))
    return results


# The report


def bar(value: float, largest: float) -> Bar:
    """Draw a bar across whatever room its column has."""
    return Bar(float(largest), 0, float(value), color="cyan")


def percent(part: float, whole: float = 1) -> str:
    """Return a share as text."""
    return f"{part / whole:.0%}" if whole else "-"


def shortened(name: str, width: int) -> str:
    """Cut the middle out of a name that is too long: both ends tell more."""
    keep = (width - 1) // 2
    return name if len(name) <= width else f"{name[: width - 1 - keep]}…{name[-keep:]}"


def new_table(title: str, *columns: str) -> Table:
    """Return an empty table; the mark before a header says how its column is set.

    `<` is text, `>` numbers, and `=` takes the room that is left over: a bar, or text to be cut.
    """
    fills = any(column.startswith("=") for column in columns)
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, expand=fills)
    table.show_edge = table.pad_edge = False
    for column in columns:
        mark, header = column[0], column[1:]
        justify: Literal["left", "right"] = "right" if mark == ">" else "left"
        table.add_column(header, justify=justify, ratio=1 if mark == "=" else None, no_wrap=True, overflow="ellipsis")
    return table


def report(survey: Survey, console: Console) -> None:
    """Print everything."""
    console.print(headline(survey))
    for table in (
        size_chart(survey),
        complexity_chart(survey),
        largest_files(survey),
        most_complex(survey),
        most_imported(survey),
        families_table(survey),
        pairs_table(survey, console.width),
    ):
        if table.row_count:
            console.print(table, "")


def headline(survey: Survey) -> Text:
    """Return the totals."""
    counts = [
        f"{len(survey.modules):,} files" + (f" ({survey.broken} more are broken)" if survey.broken else ""),
        f"{sum(metrics.lines for metrics in survey.metrics):,} lines",
        f"{sum(len(metrics.functions) for metrics in survey.metrics):,} functions",
        f"{sum(metrics.classes for metrics in survey.metrics):,} classes",
        f"{len(survey.edges):,} imports",
    ]
    title = Text(f"The standard library of Python {platform.python_version()}\n", style="bold magenta")
    return title.append(" · ".join(counts) + "\n", style="not bold default")


def size_chart(survey: Survey) -> Table:
    """Return a column chart of file sizes on a logarithmic axis."""
    sizes = np.array([metrics.code_lines for metrics in survey.metrics if metrics.code_lines])
    steps = 4  # columns per doubling
    counts = np.bincount((steps * np.log2(sizes)).astype(int), minlength=12 * steps)
    chart = new_table("How long files are", ">files", "<")
    for label, row in columns_of_blocks(counts, height=6):
        chart.add_row(label, Text(row, style="cyan"))
    chart.add_row("", "".join(f"{2**power:<{2 * steps}}" for power in range(0, len(counts) // steps + 1, 2)))
    chart.add_row("", Text("lines of code", style="dim"))
    return chart


def columns_of_blocks(counts: npt.NDArray[Any], height: int) -> list[tuple[str, str]]:
    """Draw counts as columns of block characters: rows with their labels, top row first."""
    largest = counts.max(initial=1)
    eighths = np.ceil(8 * height * counts / largest).astype(int)
    rows = []
    for level in reversed(range(height)):
        blocks = "".join(" ▁▂▃▄▅▆▇█"[filled] for filled in np.clip(eighths - 8 * level, 0, 8))
        rows.append((str(largest) if level == height - 1 else "", blocks))
    return rows


def complexity_chart(survey: Survey) -> Table:
    """Return a bar chart of the functions by cyclomatic complexity."""
    values = [function.complexity for metrics in survey.metrics for function in metrics.functions]
    edges = [1, 2, 3, 5, 9, 17, 33, 65, 10**9]
    counts = np.histogram(np.array(values, dtype=int), edges)[0]
    chart = new_table("How tangled functions are", ">paths", ">functions", ">share", "=")
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        span = str(low) if high == low + 1 else f"{low} and more" if high == edges[-1] else f"{low} to {high - 1}"
        chart.add_row(span, f"{count:,}", f"{count / max(1, len(values)):.1%}", bar(count, counts.max()))
    return chart


def largest_files(survey: Survey) -> Table:
    """Return the table of the longest files."""
    table = new_table("Largest files", "<module", ">lines", ">code", ">prose", ">docs", ">vocabulary", "=")
    order = sorted(zip(survey.modules, survey.metrics, strict=True), key=lambda pair: -pair[1].lines)[:TOP]
    for module, metrics in order:
        table.add_row(
            shortened(module.name, 28),
            f"{metrics.lines:,}",
            f"{metrics.code_lines:,}",
            percent(metrics.comment_lines + metrics.docstring_lines, metrics.lines),
            percent(metrics.documented, metrics.documentable),
            f"{metrics.identifier_bits:.1f} bits",
            bar(metrics.lines, order[0][1].lines),
        )
    return table


def most_complex(survey: Survey) -> Table:
    """Return the table of the most complex functions."""
    table = new_table("Most complex functions", "<function", ">paths", ">nesting", ">lines", "=")
    functions = [
        (function, f"{module.name}.{function.name}")
        for module, metrics in zip(survey.modules, survey.metrics, strict=True)
        for function in metrics.functions
    ]
    order = sorted(functions, key=lambda pair: (-pair[0].complexity, pair[1]))[:TOP]
    for function, name in order:
        drawn = bar(function.complexity, order[0][0].complexity)
        table.add_row(shortened(name, 38), str(function.complexity), str(function.nesting), str(function.lines), drawn)
    return table


def most_imported(survey: Survey) -> Table:
    """Return the table of the modules that the others lean on."""
    title = "Most leaned on (PageRank over imports; the bar is its 90 % bootstrap interval)"
    table = new_table(title, "<module", "<in", ">imported by", ">PageRank", "=")
    importers = np.bincount(survey.edges[:, 1], minlength=len(survey.nodes))
    rank, low, high = survey.ranks
    order = [node for node in np.argsort(-rank, kind="stable")[:TOP] if importers[node]]
    widest = float(high[order].max(initial=0))
    for node in order:
        table.add_row(
            shortened(survey.nodes[node], 28),
            "Python" if node < len(survey.modules) else "C",
            str(importers[node]),
            f"{rank[node]:.2%}",
            Bar(widest, float(low[node]), float(high[node]), color="cyan"),
        )
    return table


def families_table(survey: Survey) -> Table:
    """Return the table of groups of near-duplicates."""
    table = new_table("Families of near-duplicates", ">files", ">alike", "=members")
    for members in survey.families[:TOP]:
        inside = survey.similar[np.ix_(members, members)][np.triu_indices(len(members), k=1)]
        names = ", ".join(survey.comparable[member].name for member in members)
        table.add_row(str(len(members)), percent(inside.mean()), names)
    return table


def pairs_table(survey: Survey, width: int) -> Table:
    """Return the table of the most similar pairs, with the lines where the longest passage they share starts."""
    title = "Most alike (best pair of each two packages; at the longest passage they share)"
    table = new_table(title, "<one file", "<the other", ">alike", ">same lines", ">passage")
    room = (width - 36) // 2
    for (one, two), passage in list(zip(survey.pairs, survey.passages, strict=True))[: 2 * TOP]:
        table.add_row(
            location(survey.comparable[one], passage.first_line, room),
            location(survey.comparable[two], passage.second_line, room),
            percent(survey.similar[one, two]),
            percent(passage.recurring),
            str(passage.lines),
        )
    return table


def location(module: Module, line: int, width: int) -> Text:
    """Return `module:line` cut to a width."""
    number = f":{line}"
    return Text(shortened(module.name, width - len(number))).append(number, style="dim")


def stage_table(stages: Sequence[Stage]) -> Table:
    """Return what each cached function took and how many of its results came from the cache."""
    table = new_table("Where the time went", "<cached function", ">calls", ">from cache", ">seconds")
    for stage in stages:
        table.add_row(stage.name, f"{stage.calls:,}", f"{stage.hits:,}", f"{stage.seconds:.2f}")
    return table


# The plot

WIDTH, HEIGHT, MARGIN = 960, 640, 60
DECADES_X, DECADES_Y = 4.3, 3.5  # 20,000 lines, 3,000 paths
LETTER_WIDTH, LETTER_HEIGHT = 7, 13


def scatter_svg(survey: Survey) -> str:
    """Return a scatter plot, one circle per file: size against complexity, wide if leaned on, green if documented."""
    files = [
        (module.name, metrics, float(rank))
        for module, metrics, rank in zip(survey.modules, survey.metrics, survey.ranks[0], strict=False)
        if metrics.code_lines and metrics.complexity
    ]
    # Wide circles first, so that none hides a small one.
    marks = [circle(*file) for file in sorted(files, key=lambda file: -file[2])]
    marks += labels(files)
    style = "text{font:12px sans-serif;fill:#333} circle{fill-opacity:.6;stroke:#fff;stroke-width:.5}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"><style>{style}</style>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *axes(), *marks, "</svg>", ""])


def plot_point(size: float, complexity: float) -> tuple[float, float]:
    """Return where a file lies on the logarithmic plane, in pixels."""
    x = MARGIN + math.log10(size) / DECADES_X * (WIDTH - 2 * MARGIN)
    y = HEIGHT - MARGIN - math.log10(complexity) / DECADES_Y * (HEIGHT - 2 * MARGIN)
    return x, y


def circle(name: str, metrics: FileMetrics, rank: float) -> str:
    """Draw one file."""
    x, y = plot_point(metrics.code_lines, metrics.complexity)
    documented = metrics.documented / max(1, metrics.documentable)
    color = f"rgb({round(210 - 170 * documented)},{round(90 + 70 * documented)},90)"
    title = escape(f"{name}: {metrics.code_lines:,} lines of code, {metrics.complexity:,} paths")
    radius = 2.5 + 80 * math.sqrt(rank) / 2
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{color}"><title>{title}</title></circle>'


def labels(files: Sequence[tuple[str, FileMetrics, float]]) -> Iterator[str]:
    """Name the most leaned on and the most complex files where there is room for a name."""
    ranked = sorted(files, key=lambda file: -file[2])[:TOP]
    tangled = sorted(files, key=lambda file: -file[1].complexity)[: 2 * TOP]
    taken: list[tuple[float, float]] = []
    for name, metrics, _ in ranked + tangled:
        x, y = plot_point(metrics.code_lines, metrics.complexity)
        if all(
            abs(x - other_x) > LETTER_WIDTH * len(name) or abs(y - other_y) > LETTER_HEIGHT
            for other_x, other_y in taken
        ):
            taken.append((x, y))
            yield f'<text x="{x + 6:.1f}" y="{y - 6:.1f}">{escape(name)}</text>'


def axes() -> Iterator[str]:
    """Draw the grid at powers of ten, its numbers and what they count."""
    for decade in range(int(DECADES_X) + 1):
        x, y = plot_point(10**decade, 1)
        yield f'<path d="M{x:.1f} {y:.1f}V{MARGIN}" stroke="#ddd"/>'
        yield f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">{10**decade:,}</text>'
    for decade in range(int(DECADES_Y) + 1):
        x, y = plot_point(1, 10**decade)
        yield f'<path d="M{x:.1f} {y:.1f}H{WIDTH - MARGIN}" stroke="#ddd"/>'
        yield f'<text x="{x - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{10**decade:,}</text>'
    yield f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - 20}" text-anchor="end">lines of code</text>'
    yield f'<text x="12" y="{MARGIN - 24}">paths through all functions</text>'
    caption = f"The standard library of Python {platform.python_version()}: wide is leaned on, green is documented"
    yield f'<text x="{WIDTH / 2}" y="24" text-anchor="middle" style="font-weight:bold">{caption}</text>'


def main() -> None:
    """Run the survey and print its findings."""
    arguments = parse_arguments()
    started = time.perf_counter()
    stages: list[Stage] = []
    survey = conduct(arguments.limit, stages)
    console = Console(highlight=False)
    # On a very wide screen a bar would only end far from what it means.
    console.width = min(console.width, 120)
    report(survey, console)
    if arguments.svg:
        arguments.svg.write_text(scatter_svg(survey), encoding="utf-8")
    console.print(stage_table(stages), "", f"survey took {time.perf_counter() - started:.1f} s", sep="\n")


def parse_arguments() -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(description="Survey Python's standard library.")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N files")
    parser.add_argument("--svg", type=Path, metavar="PATH", help="also write a scatter plot of size against complexity")
    return parser.parse_args()


if __name__ == "__main__":
    main()
