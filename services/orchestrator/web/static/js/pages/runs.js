// All runs, newest first.

import { get, query, whyNot } from "../api.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { action, badge, code, field, head, meter, paged, section, select, stamp, table } from "../components.js";
import { runLink } from "./links.js";

const STATUSES = ["", "queued", "running", "paused", "succeeded", "failed", "cancelled"];

export default function runs({ query: asked, signal }) {
  const status = STATUSES.includes(asked.get("status")) ? asked.get("status") : "";
  const words = asked.get("q") ?? "";
  const change = (values) => { location.hash = `#/runs${query({ status, q: words, ...values })}`; };
  const filter = h("input", { type: "search", value: words, "data-filter": "", onchange: (event) => change({ q: event.target.value.trim() }) });
  const list = paged(
    async (token) => {
      const page = await get(`/v1/runs${query({ status, page_size: 50, page_token: token })}`, { signal });
      return { rows: page.runs, next: page.next_page_token };
    },
    (rows) => table("Runs", COLUMNS, rows.filter((run) => fits(run, words)), { empty: words || status ? "No run fits the filter; “Show more” looks further back." : "No run yet: begin one." }),
  );
  return [
    head("Runs", { actions: [action("New run", { scope: "run", kind: "primary", onclick: () => { location.hash = "#/runs/new"; } })] }),
    section("List",
      h("div", { class: "filters", role: "search" },
        field("Status", select(STATUSES.map((one) => [one, one ? format.word(one) : "All"]), status, (value) => change({ status: value }))),
        field("Name, id or who", filter)),
      list),
    whyNot("run") && h("p", { class: "muted small" }, whyNot("run")),
  ];
}

const fits = (run, words) => !words || [run.name, run.run_id, run.created_by].some((text) => text.toLowerCase().includes(words.toLowerCase()));

const COLUMNS = [
  { title: "Run", header: true, cell: runLink },
  { title: "Status", cell: (run) => [badge(run.status), run.error ? h("div", { class: "small muted" }, format.shorten(run.error.message)) : null] },
  { title: "Stage", cell: (run) => format.word(run.stage) || "–" },
  { title: "Progress", cell: (run) => {
    const step = run.progress[run.stage];
    return step && run.status === "running" ? [meter(step.done, step.total, `Progress of ${run.stage}`), ` ${step.done} of ${step.total}`] : "–";
  } },
  { title: "Attempt", number: true, cell: (run) => run.attempt },
  { title: "By", cell: (run) => code(run.created_by || "–") },
  { title: "Begun", cell: (run) => stamp(run.create_time) },
  { title: "Took", number: true, cell: (run) => (run.end_time ? format.duration((new Date(run.end_time) - new Date(run.create_time)) / 1000) : "–") },
];
