// The registry's adapters, by state.

import { get, query } from "../api.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { badge, code, field, head, paged, section, select, stamp, table } from "../components.js";
import { adapterLink, runIdLink } from "./links.js";

const STATES = ["", "candidate", "promoted", "proven", "trained", "retired", "rejected"];

export default function adapters({ query: asked, signal }) {
  const state = STATES.includes(asked.get("state")) ? asked.get("state") : "";
  const run = asked.get("run") ?? "";
  const change = (values) => { location.hash = `#/adapters${query({ state, run, ...values })}`; };
  const list = paged(
    async (token) => {
      const page = await get(`/v1/adapters${query({ state, run_id: run, page_size: 50, page_token: token })}`, { signal });
      return { rows: page.adapters, next: page.next_page_token };
    },
    (rows) => table("Adapters", COLUMNS, rows, { empty: "No adapter fits." }),
  );
  return [
    head("Adapters", { below: "What was trained. A candidate is one that the gate lets go on." }),
    section("List",
      h("div", { class: "filters", role: "search" },
        field("State", select(STATES.map((one) => [one, one ? format.word(one) : "All"]), state, (value) => change({ state: value }))),
        field("Run", h("input", { type: "search", value: run, "data-filter": "", onchange: (event) => change({ run: event.target.value.trim() }) }))),
      list),
  ];
}

const COLUMNS = [
  { title: "Adapter", header: true, cell: (one) => adapterLink(one.name) },
  { title: "State", cell: (one) => [badge(one.prune_time ? "pruned" : one.state), one.approval_required ? h("div", { class: "small muted" }, "Asks for approval") : null] },
  { title: "Why", cell: (one) => format.shorten(one.reason || "–") },
  { title: "Run", cell: (one) => runIdLink(one.run_id) },
  { title: "Iteration", number: true, cell: (one) => one.iteration },
  { title: "Rank", number: true, cell: (one) => one.rank },
  { title: "Base model", cell: (one) => one.base_model },
  { title: "By", cell: (one) => code(one.created_by) },
  { title: "Changed", cell: (one) => stamp(one.update_time) },
];
