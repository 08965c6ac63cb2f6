// One review: rating its items one by one, then what the ratings say.

import { call, may, operate, save, whyNot } from "../api.js";
import { announce, h, notify, put } from "../dom.js";
import * as format from "../format.js";
import { action, badge, code, confirmDialog, errorPanel, exact, facts, field, head, meter, part, section, table } from "../components.js";
import { usePageKeys } from "../shell.js";
import { runIdLink } from "./links.js";
import { tree } from "./generic.js";

const RATINGS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

export default async function reviewPage({ params, signal, again }) {
  const id = { review_id: params.id };
  const load = async () => {
    const found = await call("getReview", id, { signal });
    return found.review ?? found;
  };
  let review = await load();
  const rating = h("div");
  const mine = h("div");
  const progress = h("div");
  const done = [];

  function drawProgress() {
    put(progress, h("p", null, meter(review.mine, review.mine + review.left_for_me, "My ratings"), ` ${format.whole(review.mine)} rated by you, ${format.whole(review.left_for_me)} left for you. All: ${format.whole(review.ratings)} of ${format.whole(review.ratings_wanted)} ratings by ${format.whole(review.raters)} people.`));
  }
  async function next() {
    const answer = await call("nextReviewItem", id, { signal });
    const item = "item" in answer ? answer.item : answer.number ? answer : null;
    review = await load();
    drawProgress();
    if (item) drawItem(item);
    else await finish();
  }
  async function finish() {
    usePageKeys(done.length ? { u: ["Change the last rating", undo] } : {});
    put(rating, h("p", { class: "notice" }, "Nothing is left for you in this review. Thank you."), undoButton());
    announce("Nothing is left for you in this review.");
    await drawMine();
  }
  async function drawMine() {
    const found = await call("listReviewItems", id, { signal });
    put(mine, h("details", null, h("summary", null, `What you said of ${found.items.length} items`), table("My ratings", [
      { title: "Item", number: true, cell: (one) => one.number },
      { title: "Topic", cell: (one) => one.topic },
      { title: "Text", header: true, cell: (one) => format.shorten(one.text, 120) },
      { title: "Rating", number: true, cell: (one) => one.rating || "–" },
      { title: "Comment", cell: (one) => one.flag ? `Flagged: ${one.flag}` : one.comment || "–" },
      { title: "", cell: (one) => h("button", { type: "button", onclick: () => drawItem(one), "aria-label": `Change the rating of item ${one.number}` }, "Change") },
    ], found.items)));
  }
  function undo() {
    const last = done.pop();
    if (last) drawItem(last);
  }
  const undoButton = () => h("button", { type: "button", disabled: !done.length, onclick: undo, "aria-keyshortcuts": "u" }, "Change the last one (u)");

  function drawItem(item) {
    const comment = h("textarea", { maxlength: 2000, value: item.comment ?? "" });
    const problem = h("div");
    let sending = false;
    async function rate(value) {
      if (sending) return;
      sending = true;
      try {
        const said = comment.value.trim();
        const answer = await call("rateReviewItem", { ...id, number: item.number }, { json: { rating: value, comment: said }, signal });
        done.push({ ...item, ...(answer.item ?? {}), rating: value, comment: said });
        announce(`Rated ${value}.`);
        await next();
      } catch (error) {
        put(problem, errorPanel(error));
      } finally {
        sending = false;
      }
    }
    const flag = () => flagDialog(id, item, next);
    const buttons = RATINGS.map((value) => h("button", { type: "button", "aria-pressed": String(item.rating === value), "aria-keyshortcuts": String(value % 10), onclick: () => rate(value) }, value));
    const legend = h("legend", { tabindex: "-1" }, "How well does the text hold to the reference?");
    put(rating,
      h("h3", null, `Item ${item.number}: ${item.topic}`),
      h("div", { class: "texts" },
        h("figure", { class: "figure" }, h("figcaption", null, "Text to rate"), h("blockquote", { class: "text" }, item.text)),
        h("figure", { class: "figure" }, h("figcaption", null, "Reference"), h("blockquote", { class: "text" }, item.reference))),
      h("fieldset", { class: "rating" }, legend, buttons),
      h("p", { class: "ends muted small" }, h("span", null, "1: not at all"), h("span", null, "10 (key 0): perfectly")),
      field("Comment (c)", comment, "Optional; kept with your rating."),
      problem,
      h("div", { class: "actions" }, undoButton(), h("button", { type: "button", onclick: flag, "aria-keyshortcuts": "f" }, "Cannot be rated… (f)")));
    usePageKeys({
      ...Object.fromEntries(RATINGS.map((value) => [String(value % 10), [`Rate ${value}`, () => rate(value)]])),
      u: ["Change the last rating", undo], c: ["Write a comment", () => comment.focus()], f: ["Cannot be rated", flag],
    });
    legend.focus({ preventScroll: true });
  }

  drawProgress();
  const open = review.state === "open";
  const unable = whyNot("review");
  if (open && unable) put(rating, h("p", { class: "empty" }, unable));
  else if (open) next().catch((error) => { if (!signal.aborted) put(rating, errorPanel(error)); });
  return [
    head(review.title, { above: ["Review ", badge(review.state)], actions: [
      action("Close…", { scope: "run", why: open ? "" : "It is closed.", onclick: () => close(id, review, again) }),
    ] }),
    open || !may("read") ? null : section("Results", resultsPart(id, review, signal)),
    section("Progress", progress, mine),
    open ? section("Rate", h("details", null, h("summary", null, "What to judge by"), review.rubric.split(/\n{2,}/).map((text) => h("p", null, text))), rating) : null,
    open && may("read") ? section("Results", resultsPart(id, review, signal)) : null,
    section("Facts", facts([["Run", runIdLink(review.run_id)], ["Items", format.whole(review.items)], ["Reviewers an item", review.reviewers_per_item], ["Flagged", format.whole(review.flagged)], ["Who may rate", review.reviewers?.join(", ") || "whoever has the scope"],
      ["Whoever began the run", review.allow_author ? "may rate too" : "may not rate"], ["Begun by", code(review.create_by)], ["Begun", exact(review.create_time)], ["Closed by", review.close_by && code(review.close_by)], ["Closed", review.close_time && exact(review.close_time)], ["Items' sha256", code(format.hash(review.items_sha256))]])),
  ];
}

function flagDialog(id, item, next) {
  const reason = h("textarea", { maxlength: 2000, required: true });
  confirmDialog({
    title: `Item ${item.number} cannot be rated`, label: "Give it back", fields: [field("Why", reason)],
    says: ["The item is given back without a rating; another reviewer may get it."],
    run: () => call("flagReviewItem", { ...id, number: item.number }, { json: { reason: reason.value } }), done: next, said: () => "The item was given back.",
  });
}

function close(id, review, again) {
  const missing = review.ratings_wanted - review.ratings;
  confirmDialog({
    title: `Close ${review.title}`, label: "Close the review", danger: missing > 0,
    says: [`The ratings become final and go into a new revision of run ${review.run_id}'s report, and the gate decides again with them.`, missing > 0 ? `${format.whole(missing)} of ${format.whole(review.ratings_wanted)} ratings are still missing.` : "Every rating that was wanted is there."],
    run: () => call("closeReview", id), done: again, said: (made) => `Closed: revision ${made.revision} of the report${made.decision ? `, verdict ${made.decision}` : ""}.`,
  });
}

// While a review is open only few may see its results, and whoever does may not rate: so nobody sees them unasked.
function resultsPart(id, review, signal) {
  const load = async () => {
    const found = await call("getReviewResults", id, { signal });
    const { agreement, correlation, ...rest } = found.results ?? found;
    return [tree({ "Agreement (Krippendorff's alpha)": agreement, "Correlation of the ratings with the metric": correlation, ...rest }), h("div", { class: "actions" },
      ["csv", "json"].map((kind) => h("button", { type: "button", onclick: () => exported(id, kind) }, `Ratings as ${kind.toUpperCase()}`)))];
  };
  if (review.state !== "open") return part(load);
  const box = h("div", null, h("button", { type: "button", onclick: () => put(box, part(load)) }, "Show the results so far"),
    h("p", { class: "hint" }, "For whoever may close the review and does not rate."));
  return box;
}

async function exported(id, kind) {
  try {
    await save(await operate("exportReview", id, { search: { format: kind } }), `valign-${id.review_id}.${kind}`);
  } catch (error) {
    notify(error.message, "bad");
  }
}
