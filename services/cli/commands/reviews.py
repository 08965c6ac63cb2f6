"""``reviews``: people rate a run's texts, blind, in the terminal or elsewhere."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from services.cli.api import Api, Json
from services.cli.commands.common import JsonOption, RunArgument, UrlOption, connect
from services.cli.errors import CliError
from services.cli.output import console, one_line, print_json, say, table

ReviewArgument = Annotated[str, typer.Argument(help="Its id, as `valign reviews list` shows it.")]


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    reviews = typer.Typer(
        help="Human reviews: people rate a run's texts from 1 to 10, blind to which arm wrote them.",
        no_args_is_help=True,
    )
    reviews.command("create")(create)
    reviews.command("list")(list_)
    reviews.command("show")(show)
    reviews.command("rate")(rate)
    reviews.command("close")(close)
    reviews.command("results")(results)
    reviews.command("export")(export)
    app.add_typer(reviews, name="reviews")


def create(
    run: RunArgument,
    title: Annotated[str, typer.Option(help="Default: the run's name.")] = "",
    threshold: Annotated[
        float | None, typer.Option(help="Least cosine similarity that passes stage one. Default: 0.5.")
    ] = None,
    arms: Annotated[str, typer.Option(help="Kinds of arms, with commas. Default: base_p3,tuned.")] = "",
    items_per_topic: Annotated[int, typer.Option(help="Items of each topic and arm at most.")] = 5,
    reviewers_per_item: Annotated[int, typer.Option(help="Ratings wanted for each item.")] = 3,
    seed: Annotated[int | None, typer.Option(help="Of all that is drawn. Default: the study's.")] = None,
    rubric: Annotated[Path | None, typer.Option(help="A file: what reviewers are told to judge by.")] = None,
    reviewers: Annotated[str, typer.Option(help="Who may rate, with commas, e.g. key:anna,key:ben.")] = "",
    close_when_complete: Annotated[bool, typer.Option(help="The last rating closes it.")] = False,
    allow_author: Annotated[bool, typer.Option(help="Whoever began the run may rate too.")] = False,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Freeze pairs of a run that has succeeded, for people to rate."""
    asked: Json = {
        "title": title,
        "threshold": threshold,
        "arms": _split(arms),
        "items_per_topic": items_per_topic,
        "reviewers_per_item": reviewers_per_item,
        "seed": seed,
        "rubric": _read(rubric) if rubric else "",
        "reviewers": _split(reviewers),
        "closing": "complete" if close_when_complete else "manual",
        "allow_author": allow_author,
    }
    with connect(url) as api:
        made = api.post_json("/reviews", {**asked, "run_id": api.run_id(run)})
    if as_json:
        print_json(made)
        return
    say(
        f"review {made['review_id']}: {made['items']} items, {made['ratings_wanted']} ratings wanted."
        f"\nReviewers: valign reviews rate {made['review_id']}"
    )


def list_(
    run: Annotated[str, typer.Option(help="Only this run's.")] = "",
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """List the reviews, newest first."""
    found: list[Json] = []
    with connect(url) as api:
        params: dict[str, str | int] = {"page_size": 200, **({"run_id": api.run_id(run)} if run else {})}
        while len(found) < 1000:
            page = api.get("/reviews", **params)
            found += page["reviews"]
            if not page["next_page_token"]:
                break
            params["page_token"] = page["next_page_token"]
    if as_json:
        print_json({"reviews": found})
        return
    rows = [
        [
            one["review_id"],
            one["run_id"],
            one["state"],
            one_line(one["title"]),
            str(one["items"]),
            f"{one['ratings']}/{one['ratings_wanted']}",
            str(one["raters"]),
            str(one["left_for_me"]),
        ]
        for one in found
    ]
    columns = ["review", "run", "state", "title", "items", "ratings", "raters", "left for you"]
    console().print(table("", columns, rows, right=4))


def show(review: ReviewArgument, url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Show a review and how far it is."""
    with connect(url) as api:
        found = api.get(_path(review))
    if as_json:
        print_json(found)
        return
    rows = [
        [name.replace("_", " "), one_line(str(value))] for name, value in found.items() if name != "rubric"
    ]
    console().print(table("", ["", ""], rows))
    say(found["rubric"])


def rate(review: ReviewArgument, url: UrlOption = "") -> None:
    """Rate items one after the other: 1 to 10 and Enter, `s` to give one back, `q` to stop for now."""
    with connect(url) as api:
        found = api.get(_path(review))
        say(f"{found['title']}\n\n{found['rubric']}\n")
        done = 0
        while (item := api.post_json(f"{_path(review)}/next", None)["item"]) is not None:
            say(
                f"\nTopic:     {one_line(item['topic'])}\nReference: {item['reference']}\n"
                f"Text:      {item['text']}"
            )
            if not _rate_one(api, review, item):
                break
            done += 1
        else:
            say("\nNothing is left for you in this review.")
    say(f"{done} rated or given back. Thank you.")


def close(review: ReviewArgument, url: UrlOption = "", as_json: JsonOption = False) -> None:
    """End a review: its ratings are final, the report gets a new revision, the gate decides again."""
    with connect(url) as api:
        made = api.post_json(f"{_path(review)}/close", None)
    if as_json:
        print_json(made)
        return
    decision = made["decision"] or "none: the run only measured"
    say(f"review {review} is closed. Verdict: {decision}. Report revision {made['revision']} has it.")


def results(review: ReviewArgument, url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Show what a closed review found."""
    with connect(url) as api:
        found = api.get(f"{_path(review)}/results")
    if as_json:
        print_json(found)
        return
    agreement, correlation = found["agreement"], found["correlation"]
    say(f"{found['ratings']} ratings of {found['items']} items by {found['raters']} reviewers.")
    say(f"Agreement, Krippendorff's alpha: {_span(agreement['ordinal'])} (ordinal), ", nl=False)
    say(f"{_span(agreement['interval'])} (interval). {agreement['reading']}")
    say(f"Rating against value difference: Spearman {_span(correlation['spearman'])}, ", nl=False)
    say(f"Pearson {_span(correlation['pearson'])}. Below 0: people agree with the metric.")
    passed = {one["arm"]: one for one in found["stage_one"]}
    rows = [
        [
            one["arm"],
            f"{passed[one['arm']]['passed']}/{passed[one['arm']]['of']}",
            str(one["items"]),
            str(one["ratings"]),
            _span(one["mean"]),
        ]
        for one in found["arms"]
    ]
    console().print(table("", ["arm", "passed stage one", "items", "ratings", "mean rating"], rows, right=4))
    for one in found["differences"]:
        say(f"{one['arm']} - {one['against']}, same inputs: {_span(one['difference'])}")


def export(
    review: ReviewArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write it; its end says: .json or .csv.")],
    url: UrlOption = "",
) -> None:
    """Write a closed review's items, ratings and comments to a file."""
    form = out.suffix.removeprefix(".")
    if form not in ("json", "csv"):
        raise CliError(
            f"{out} ends with neither .json nor .csv", remedy="Say --out review.json or --out review.csv."
        )
    with connect(url) as api:
        content = api.get_bytes(f"{_path(review)}/export?format={form}")
    try:
        out.write_bytes(content)
    except OSError as error:
        raise CliError(f"cannot write {out}: {error.strerror or error}") from error
    say(f"{out}: {len(content)} bytes")


def _rate_one(api: Api, review: str, item: Json) -> bool:
    """Ask until there is an answer; False to stop."""
    path = f"{_path(review)}/items/{item['number']}"
    while True:
        try:
            said = typer.prompt("1-10, s (give back), q (stop)", prompt_suffix=": ").strip().lower()
        except typer.Abort:
            return False
        if said == "q":
            return False
        if said == "s":
            reason = typer.prompt("What is wrong with it?").strip()
            api.put_json(f"{path}/flag", {"reason": reason})
            return True
        if said.isascii() and said.isdigit() and 1 <= int(said) <= 10:
            comment = typer.prompt("Comment (Enter for none)", default="", show_default=False)
            api.put_json(f"{path}/rating", {"rating": int(said), "comment": comment})
            return True
        say(f"{said[:20]!r} is no whole number from 1 to 10.")


def _path(review: str) -> str:
    return f"/reviews/{quote(review, safe='')}"


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"cannot read {path}: {error}") from error


def _span(found: Json | None) -> str:
    if found is None:
        return "undefined"
    if found["low"] is None:
        return f"{found['value']:.2f}"
    return f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
