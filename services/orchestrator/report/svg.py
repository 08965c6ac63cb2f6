"""matplotlib figures as inline SVG that follows the page's colours and fonts.

matplotlib draws with stand-in colours and stand-in labels. Afterwards each stand-in colour becomes a
CSS variable (so the figure follows dark mode and print) and each stand-in label becomes the real,
escaped text (so the browser shapes Arabic and Chinese, and matplotlib never looks for glyphs it lacks).
"""

import io
import re
import threading
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXT = "#010101"
MUTED = "#010102"
GRID = "#010103"
PAGE = "#010104"
BEFORE = "#010105"
BASE_P3 = "#010106"
AFTER = "#010107"
CONSTANT = "#010108"
REFERENCE = "#010109"
ON_MARK = "#01010a"
BASE_P3_PALE = "#01010b"
AFTER_PALE = "#01010c"
FLOOR = "#01010d"
REGISTER = "#01010e"
CEILING = "#01010f"

_VARIABLES = {
    TEXT: "var(--text)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    PAGE: "var(--card)",
    BEFORE: "var(--before)",
    BASE_P3: "var(--base-p3)",
    AFTER: "var(--after)",
    CONSTANT: "var(--constant)",
    REFERENCE: "var(--reference)",
    ON_MARK: "var(--on-mark)",
    BASE_P3_PALE: "var(--base-p3-pale)",
    AFTER_PALE: "var(--after-pale)",
    FLOOR: "var(--floor)",
    REGISTER: "var(--register)",
    CEILING: "var(--ceiling)",
}

# rcParams are global to the process: one figure is written at a time.
_RC_LOCK = threading.Lock()


class Labels:
    """Texts that matplotlib must not see: ``labels.put(text)`` gives the stand-in to draw."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def put(self, text: str) -> str:
        self._texts.append(text)
        return f"@{len(self._texts) - 1}@"

    def fill(self, svg: str) -> str:
        """One pass, so that a text that looks like a stand-in stays what it is."""
        return re.sub(r"@(\d+)@", lambda match: str(escape(self._texts[int(match[1])])), svg)


def to_inline_svg(figure: "Figure", labels: Labels, *, name: str, title: str) -> Markup:
    """``name`` prefixes the ids, which must be unique in the page; ``title`` is the text alternative."""
    import matplotlib

    buffer = io.StringIO()
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": name, "hatch.linewidth": 1.0}
    with _RC_LOCK, matplotlib.rc_context(settings):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = _own_ids(svg, name)
    svg = re.sub("#0101[0-9a-f]{2}", lambda match: _VARIABLES[match[0]], svg)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    head = re.match(r"<svg[^>]*>", svg)
    box = re.search(r'viewBox="([^"]*)"', svg)
    if head is None or box is None:
        raise ValueError("matplotlib wrote no <svg> element with a viewBox")
    opening = (
        f'<svg role="img" aria-label="{escape(title)}" viewBox="{box[1]}" xmlns="http://www.w3.org/2000/svg">'
    )
    body = svg[head.end() :].replace("xlink:href", "href")
    body = re.sub(r">\s+<", ">\n<", body)
    return Markup(labels.fill(opening + body))  # noqa: S704 (matplotlib's own SVG, labels escaped)


def _own_ids(svg: str, name: str) -> str:
    """Drops the ids nothing points to and prefixes the rest: several figures share one page."""
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)
