"""Whether report.html shows report.json: it is drawn again and compared."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from services.orchestrator.audit.checking import Check, Outcome
from services.orchestrator.audit.files import Files
from services.orchestrator.report.html import render_html
from services.orchestrator.report.schema import Report


def check_page(files: Files, outcome: Outcome) -> Check:
    """The check. Where valign or the drawing libraries have other versions the page would differ by them."""
    check = Check("page", "Does report.html show report.json?")
    other = _other_versions(outcome.facts)
    if other:
        check.question += f" Not asked: it was drawn with {', '.join(other)}"
        return check
    if "report.html" not in files or "report.json" not in files:
        check.faults.append("report.html: missing")
        return check
    check.checked = 1
    try:
        page = render_html(Report.model_validate_json(files["report.json"]))
    except ValueError as error:
        check.faults.append(f"report.json: no report that could be shown: {error}")
        return check
    if page.encode() != files["report.html"]:
        check.faults.append("report.html: not the page of report.json")
    return check


def _other_versions(facts: Any) -> list[str]:
    """What the page was drawn with and is not here; empty if all is the same."""
    libraries = facts.get("page_libraries")
    made = {"valign": facts.get("valign"), **(libraries if isinstance(libraries, dict) else {})}
    return [
        f"{name} {wanted}" for name, wanted in made.items() if wanted is not None and wanted != _here(name)
    ]


def _here(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
