// Human reviews: which there are, and new ones.

import { call, randomKey, seg } from "../api.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { action, badge, confirmDialog, field, head, link, meter, paged, section, select, stamp, table } from "../components.js";
import { runIdLink } from "./links.js";

export default function reviewsPage({ query: asked, signal, again }) {
  const run = asked.get("run") ?? "";
  const list = paged(
    async (token) => {
      const page = await call("listReviews", {}, { search: { run_id: run, page_size: 50, page_token: token }, signal });
      return { rows: page.reviews, next: page.next_page_token };
    },
    (rows) => table("Reviews", [
      { title: "Review", header: true, cell: (one) => [link(`#/reviews/${seg(one.review_id)}`, one.title), h("div", { class: "small muted" }, h("code", null, one.review_id))] },
      { title: "State", cell: (one) => badge(one.state) },
      { title: "Run", cell: (one) => runIdLink(one.run_id) },
      { title: "Ratings", cell: (one) => [meter(one.ratings, one.ratings_wanted, `Ratings of ${one.title}`), ` ${format.whole(one.ratings)} of ${format.whole(one.ratings_wanted)}`] },
      { title: "Left for me", number: true, cell: (one) => format.whole(one.left_for_me) },
      { title: "Raters", number: true, cell: (one) => format.whole(one.raters) },
      { title: "Begun", cell: (one) => stamp(one.create_time) },
    ], rows, { empty: "No review yet." }),
  );
  return [
    head("Reviews", { below: "People rate texts, blind to where they come from: does the number mean what it should?", actions: [action("New review…", { scope: "run", kind: "primary", onclick: () => create(run, again) })] }),
    section("List", list),
  ];
}

function create(run, again) {
  const intent = randomKey();
  const id = h("input", { type: "text", value: run, required: true, placeholder: "r-…" });
  const title = h("input", { type: "text" });
  const numbers = (least, most, value) => h("input", { type: "number", min: least, max: most, value, required: true });
  const threshold = h("input", { type: "number", min: -1, max: 1, step: 0.01, value: 0.5, required: true });
  const items = numbers(1, 200, 5);
  const raters = numbers(1, 20, 3);
  const rubric = h("textarea", { maxlength: 8000 });
  const closing = select([["manual", "When somebody closes it"], ["complete", "With the last rating that is wanted"]], "manual");
  confirmDialog({
    title: "New review", label: "Freeze the items and begin",
    says: ["Pairs of the run whose texts are near enough to their reference texts are frozen. Reviewers rate them from 1 to 10, in a random order of their own, and are not told which model wrote them."],
    fields: [field("Run", id), field("Title", title, "Empty: the run's name."), field("Least cosine similarity", threshold, "Stage one: pairs below are not shown to people."),
      field("Items of each topic and arm", items), field("Reviewers an item", raters), field("Ends", closing), field("What reviewers are told", rubric, "Empty: valign's own words.")],
    run: () => call("createReview", {}, {
      headers: { "Idempotency-Key": intent },
      json: { run_id: id.value.trim(), threshold: Number(threshold.value), items_per_topic: Number(items.value), reviewers_per_item: Number(raters.value), closing: closing.value,
        ...(title.value.trim() && { title: title.value.trim() }), ...(rubric.value.trim() && { rubric: rubric.value.trim() }) },
    }),
    done: again, said: (made) => `Review ${(made.review ?? made).review_id} has begun.`,
  });
}
