"""One page about a cache: what it holds, what it did, and what that was worth.

The page is a single HTML file that loads nothing from anywhere. Whatever comes from the cache is text in it, never
markup, and its policy lets a browser run the two scripts that belong to it and no other. What the page shows, and in
which words, is decided here; how it looks is in `page.html`, `page.css` and `page.js`. No result is unpickled.

    survey     what there is to show, from one listing
    distributions  entries by size, age and cost
    timeline   the ledger's hours in as many bars as one can read
    formatting numbers and names for people
    tables     what the tables hold
    figures    parts that charts have in common
    time_charts  what the charts over time show
    charts     all charts
    page       all of it as HTML

Needs plotly and Jinja2, which a cache itself does not: import it when a report is wanted, and no sooner.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pcache.report.page import render
from pcache.report.survey import survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.cache import Cache

__all__ = ["make"]


def make(
    cache: Cache,
    since: float = 0.0,
    *,
    now: float | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> str:
    """The page, with calls counted from `since` on (seconds since 1970, to the hour).

    Lists all entries by name and size, some 7 us each, and opens the few most expensive. `progress` is called with the
    number of listed entries and the total.
    """
    return render(survey(cache, since, now=time.time() if now is None else now, progress=progress))
