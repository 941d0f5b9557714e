"""The page on settings: its table and its list are written from the one table of settings in the code.

python tests/support/settings_page.py --write    write them into docs/settings.md
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from pcache import Cache
from pcache.cli.config import readable
from pcache.config.rules import KEY_VARIABLE, OF_FUNCTIONS, RULES, Rule
from pcache.config.settings import Setting, Settings

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "settings.md"
_BEGIN, _END = "<!-- written by tests/support/settings_page.py -->", "<!-- end of what is written -->"
_ARGUMENTS = {
    "location": "directory",
    "signing_key": "",
}  # those called otherwise than their setting


def row(rule: Rule) -> str:
    """A setting with its names and its default."""
    arguments = [name for name in inspect.signature(Cache).parameters if _ARGUMENTS.get(name, name) == rule.name]
    default = Settings("")._asdict()[rule.name]
    shown = "in your folder for caches" if rule.name == "directory" else readable(Setting(rule.name, default, ""))
    if rule.name == "key_file":
        shown = "in your folder for configuration"
    argument = f"`{arguments[0]}=`" if arguments else ""
    alone = "yes" if rule.name in OF_FUNCTIONS else ""
    return f"| `{rule.key}` | {argument} | `{rule.variable}` | {shown} | {alone} |"


def written() -> str:
    """The table of names, and what is said of each setting."""
    lines = [
        "| key in files | argument of `Cache(...)` | variable | default | for single functions |",
        "|---|---|---|---|---|",
        *map(row, RULES),
        f"| | `signing_key=` | `{KEY_VARIABLE}` | the key in `key_file` | |",
        "",
        "## When to touch which",
        "",
        *(f"- **`{rule.key}`**: {rule.about}" for rule in RULES),
    ]
    return "\n".join(lines)


def page_with(text: str) -> str:
    """The page with another text between the marks."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    return f"{before}{_BEGIN}\n{text}\n{_END}{rest.partition(_END)[2]}"


if __name__ == "__main__" and "--write" in sys.argv:
    PAGE.write_text(page_with(written()))
