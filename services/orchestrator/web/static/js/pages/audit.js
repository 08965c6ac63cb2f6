// The audit log: who did what to which thing, and whether the chain holds.

import { get, getText, query } from "../api.js";
import { h, put } from "../dom.js";
import * as format from "../format.js";
import { badge, code, errorPanel, exact, facts, field, head, section, table } from "../components.js";

const PAGE = 200;

export default async function auditPage({ query: asked, signal }) {
  const words = h("input", { type: "search", "data-filter": "", value: asked.get("q") ?? "", oninput: draw });
  const verdict = h("div", { "aria-live": "polite" });
  const body = h("div");
  const earlier = h("button", { type: "button", onclick: () => more() }, "Show earlier ones");
  let rows = [];
  let oldest = 0;

  async function verify() {
    put(verdict, h("p", { class: "muted" }, "Reading the whole log…"));
    const found = await get("/v1/audit-log/verify", { signal });
    put(verdict, h("p", null, badge(found.intact ? "intact" : "broken"), found.intact ? ` All ${format.whole(found.entries)} entries follow from one another.` : ` Entry ${found.broken_at}: ${found.reason}`),
      facts([["Last entry's sha256", code(found.head_sha256 || "–")]]));
    return found;
  }
  async function more() {
    const after = Math.max(0, oldest - PAGE - 1);
    const limit = oldest - 1 - after;
    if (limit > 0) {
      const text = await getText(`/v1/audit-log${query({ after, limit })}`, { signal });
      rows = rows.concat(text.split("\n").filter(Boolean).map((line) => JSON.parse(line)).reverse());
    }
    oldest = after + 1;
    draw();
  }
  function draw() {
    const wanted = words.value.trim().toLowerCase();
    const fits = (entry) => !wanted || [entry.actor, entry.action, entry.target_kind, entry.target, entry.details].some((text) => String(text).toLowerCase().includes(wanted));
    put(body, table("Entries, newest first", COLUMNS, rows.filter(fits), { empty: wanted ? "No entry that is shown fits." : "Nothing was done yet." }));
    earlier.hidden = oldest <= 1;
  }

  const found = await verify();
  // Entries are numbered from 1 without gaps; of a broken log those before the break are shown, and what follows.
  oldest = Math.max(found.entries, found.broken_at) + 1;
  await more();
  return [
    head("Audit log", { below: "Each entry carries the hash of the one before it: what was changed since is seen." }),
    section("The chain", verdict, h("div", { class: "actions" }, h("button", { type: "button", onclick: () => verify().catch((error) => put(verdict, errorPanel(error))) }, "Verify again"))),
    section("Entries", h("div", { class: "filters", role: "search" }, field("Who, what or which", words)), body, earlier),
  ];
}

const COLUMNS = [
  { title: "No.", number: true, cell: (entry) => entry.sequence },
  { title: "When", cell: (entry) => exact(entry.time) },
  { title: "Who", cell: (entry) => code(entry.actor) },
  { title: "Did", header: true, cell: (entry) => entry.action },
  { title: "To", cell: (entry) => `${entry.target_kind} ${entry.target}` },
  { title: "Details", cell: (entry) => (entry.details && entry.details !== "{}" ? code(format.shorten(entry.details, 240)) : "–") },
];
