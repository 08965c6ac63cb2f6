// Monitors: what is watched, and how it stands. Drawn from what the server says of each.

import { call, seg } from "../api.js";
import { h } from "../dom.js";
import { badge, code, head, link, paged, section, stamp, table } from "../components.js";

const COLUMNS = [
  { title: "Monitor", header: true, cell: (one) => [link(`#/monitors/${seg(one.monitor_id)}`, one.name), h("div", { class: "small muted" }, code(one.monitor_id))] },
  { title: "State", cell: (one) => badge(one.state) },
  { title: "Watches", cell: (one) => one.route || one.endpoint || "–" },
  { title: "Schedule", cell: (one) => (one.schedule ? code(one.schedule) : "–") },
  { title: "Next", cell: (one) => stamp(one.next_time) },
];

/** The overview's part. */
export async function overviewTable(signal) {
  const { monitors } = await call("listMonitors", {}, { search: { page_size: 50 }, signal });
  return table("Monitors and how they stand", COLUMNS.slice(0, 3), monitors, { empty: "Nothing is watched yet." });
}

export default function monitorsPage({ signal }) {
  return [
    head("Monitors", { below: "What serves is measured again on schedule; drift raises an alarm." }),
    section("List", paged(async (token) => {
      const page = await call("listMonitors", {}, { search: { page_size: 50, page_token: token }, signal });
      return { rows: page.monitors, next: page.next_page_token };
    }, (rows) => table("Monitors", COLUMNS, rows, { empty: "Nothing is watched yet." }))),
  ];
}

