"""A picture of the summary: for each kind of work what it takes pcache, its peers and bare files, on one axis of time.

An SVG by hand, so that it needs no plotting library and follows the reader's light or dark setting.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from harness import duration
from verdicts import SKIPPED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from verdicts import Aim, Section

WIDTH, LEFT, RIGHT, TOP, ROW = 980, 290, 724, 92, 30
BOTTOM = 34
PEERS = ("diskcache", "joblib", "joblib mmap", "checkpointer", "cachier")
STYLE = """
  svg { color-scheme: light dark; }
  text { font: 12px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; }
  .soft { fill: #59636e; }
  .small { font-size: 11px; }
  .end { text-anchor: end; }
  .middle { text-anchor: middle; }
  .page { fill: #ffffff; stroke: #d1d9e0; }
  .band { fill: #f6f8fa; }
  .grid { stroke: #d8dee4; }
  .span { stroke: #afb8c1; }
  .bare { stroke: #1f2328; }
  .xxh3 { stroke-dasharray: 2 2; }
  .aim { stroke: #1a7f37; fill: none; }
  .peer { fill: #ffffff; }
  .diskcache { stroke: #bc4c00; }
  .joblib { stroke: #8250df; }
  .checkpointer { stroke: #bf3989; }
  .cachier { stroke: #1b7c83; }
  .pcache { fill: #0969da; stroke: #0969da; }
  .met { fill: #1a7f37; }
  .missed { fill: #cf222e; font-weight: 600; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .soft { fill: #9198a1; }
    .page { fill: #0d1117; stroke: #3d444d; }
    .band { fill: #151b23; }
    .grid { stroke: #2a313c; }
    .span { stroke: #656c76; }
    .bare { stroke: #e6edf3; }
    .aim { stroke: #3fb950; }
    .peer { fill: #0d1117; }
    .diskcache { stroke: #f0883e; }
    .joblib { stroke: #bc8cff; }
    .checkpointer { stroke: #f778ba; }
    .cachier { stroke: #39c5cf; }
    .pcache { fill: #58a6ff; stroke: #58a6ff; }
    .met { fill: #3fb950; }
    .missed { fill: #ff7b72; }
  }
"""


class Axis:
    """Seconds on a logarithmic scale of whole decades."""

    def __init__(self, values: Sequence[float]) -> None:
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)

    def x(self, seconds: float) -> float:
        share = (math.log10(seconds) - self.low) / (self.high - self.low)
        return LEFT + share * (RIGHT - LEFT)

    def decades(self) -> list[tuple[float, str]]:
        return [(self.x(10.0**n), unit(n)) for n in range(self.low, self.high + 1)]


def unit(power: int) -> str:
    """What ten to that power is of seconds."""
    step, name = next((step, name) for step, name in ((0, "s"), (-3, "ms"), (-6, "µs"), (-9, "ns")) if power >= step)
    return f"{10 ** (power - step)} {name}"


def draw(sections: Sequence[Section]) -> str:
    """Draw all aims of which anything was measured."""
    aims = [aim for section in sections for aim in section.aims]
    values = [seconds for aim in aims for seconds in (*aim.seconds.values(), aim.bound or 0) if seconds > 0]
    if not values:
        return ""
    axis = Axis(values)
    bottom = TOP + ROW * len(aims)
    height = bottom + BOTTOM
    present = {name for aim in aims for name in aim.seconds}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' role="img" aria-labelledby="title">',
        f"<style>{STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>',
        '<text id="title" class="title" x="16" y="28">Time of one call or job: less is better</text>',
        f'<text class="soft small end" x="{WIDTH - 16}" y="28">medians of one run, logarithmic scale</text>',
        *legend(present),
        *(stripe(TOP + ROW * number) for number in range(0, len(aims), 2)),
        *scale(axis, bottom),
        *(line for number, aim in enumerate(aims) for line in row(aim, axis, TOP + ROW * number + ROW // 2)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def stripe(y: int) -> str:
    return f'<rect class="band" x="1" y="{y}" width="{WIDTH - 2}" height="{ROW}"/>'


def scale(axis: Axis, bottom: int) -> Iterator[str]:
    for x, name in axis.decades():
        at = math.floor(x) + 0.5  # a line of one pixel lies on pixels, not between them
        yield f'<line class="grid" x1="{at}" y1="{TOP}" x2="{at}" y2="{bottom}"/>'
        yield f'<text class="soft small middle" x="{at}" y="{TOP - 8}">{name}</text>'
        yield f'<text class="soft small middle" x="{at}" y="{bottom + 18}">{name}</text>'


def legend(present: set[str]) -> Iterator[str]:
    """The marks and their names, in one line below the title."""
    x = 16.0
    for name in ("pcache", "aim", "bare", "xxh3", "without", *PEERS):
        if name not in present and name != "aim":
            continue
        label = {"aim": "aim, at most", "bare": "bare", "without": "without a cache"}.get(name, name)
        yield mark(name, x + 6, 50)
        yield f'<text class="small" x="{x + 17:g}" y="54">{label}</text>'
        x += 36 + 6.1 * len(label)


def row(aim: Aim, axis: Axis, y: int) -> Iterator[str]:
    yield f'<text class="end" x="{LEFT - 14}" y="{y + 4}">{escape(aim.work)}</text>'
    places = [axis.x(seconds) for seconds in aim.seconds.values() if seconds > 0]
    if places:
        yield f'<line class="span" x1="{min(places):.1f}" y1="{y + 0.5}" x2="{max(places):.1f}" y2="{y + 0.5}"/>'
    if aim.bound:
        yield mark("aim", axis.x(aim.bound), y)
    for name in sorted(aim.seconds, key=lambda name: name == "pcache"):  # ours is drawn above the others
        if aim.seconds[name] > 0:
            yield mark(name, axis.x(aim.seconds[name]), y)
    value = duration(aim.seconds["pcache"])
    kind = "soft" if aim.verdict == SKIPPED else "met" if aim.is_met else "missed"
    verdict = f'{micro(value)}, <tspan class="{kind}">{aim.verdict.replace("*", "")}</tspan>'
    yield f'<text x="{RIGHT + 20}" y="{y - 1}">{verdict}</text>'
    target = escape(micro(aim.target.replace("at most", "≤")))
    yield f'<text class="soft small" x="{RIGHT + 20}" y="{y + 12}">{target}</text>'


def micro(text: str) -> str:
    return text.replace(" us", " µs")


def mark(name: str, x: float, y: float) -> str:
    """The sign of a contestant, or of the aim: a bracket at the most that is allowed."""
    at, middle = math.floor(x) + 0.5, y + 0.5
    shapes: Mapping[str, str] = {
        "pcache": f'<circle class="pcache" cx="{x:.1f}" cy="{middle}" r="5"/>',
        "aim": f'<path class="aim" d="M{at - 4} {middle - 9}H{at}V{middle + 9}H{at - 4}"/>',
        "bare": f'<line class="bare" x1="{at}" y1="{middle - 7}" x2="{at}" y2="{middle + 7}"/>',
        "xxh3": f'<line class="bare xxh3" x1="{at}" y1="{middle - 7}" x2="{at}" y2="{middle + 7}"/>',
        "without": f'<path class="bare" d="M{x - 3.5:.1f} {middle - 3.5}l7 7m0 -7l-7 7"/>',
        "joblib mmap": f'<path class="peer joblib" d="M{x:.1f} {middle - 5}l5 5l-5 5l-5 -5z"/>',
    }
    return shapes.get(name) or f'<circle class="peer {name}" cx="{x:.1f}" cy="{middle}" r="4"/>'
