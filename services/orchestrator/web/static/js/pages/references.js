// Reference sets: their principles and stewards, and what changed between two.

import { get, post, query, seg } from "../api.js";
import { h, put } from "../dom.js";
import * as format from "../format.js";
import { badge, code, errorPanel, facts, field, head, link, section, select, table } from "../components.js";

export default async function referencesPage(context) {
  return context.params.id === undefined ? list(context) : one(context);
}

async function list({ query: asked, signal }) {
  const { reference_sets: sets } = await get("/v1/reference-sets", { signal });
  const choices = sets.map((set) => [set.id, `${set.title} ${set.version}`]);
  const old = select(choices, asked.get("old") ?? sets[0]?.id);
  const other = select(choices, asked.get("new") ?? sets[1]?.id);
  const run = h("input", { type: "text", value: asked.get("run") ?? "", placeholder: "r-…" });
  const outcome = h("div", { "aria-live": "polite" });
  async function compare() {
    history.replaceState(null, "", `#/references${query({ old: old.value, new: other.value, run: run.value.trim() })}`);
    try {
      const found = await post("/v1/reference-sets/diff", { old: run.value.trim() ? { run_id: run.value.trim() } : { id: old.value }, new: { id: other.value } }, { signal });
      put(outcome, differences(found));
    } catch (error) {
      put(outcome, errorPanel(error));
    }
  }
  if (asked.get("old") && asked.get("new")) compare();
  return [
    head("References", { below: "The value sets that models are measured against, and who answers for their wording." }),
    section("Sets", table("Reference sets", [
      { title: "Set", header: true, cell: (set) => link(`#/references/${seg(set.id)}`, set.title) },
      { title: "Id", cell: (set) => code(set.id) },
      { title: "Version", cell: (set) => set.version },
      { title: "Steward", cell: (set) => set.steward },
      { title: "Next review", cell: (set) => [set.review_date, set.warnings.map((text) => h("div", { class: "small" }, badge("warn"), ` ${text}`))] },
      { title: "Consulted", cell: (set) => set.stakeholders_consulted.join("; ") || "–" },
    ], sets)),
    section("What differs between two",
      h("div", { class: "filters" }, field("Older", old), field("Newer", other), field("Or the set that a run used, as the older", run),
        h("button", { type: "button", class: "primary", onclick: compare }, "Compare the sets")),
      outcome),
  ];
}

function differences(found) {
  const columns = [
    { title: "What", header: true, cell: (change) => code(change.what) },
    { title: "How", cell: (change) => format.word(change.kind) },
    { title: "Before", cell: (change) => (change.old === null ? "–" : h("del", null, change.old)) },
    { title: "After", cell: (change) => (change.new === null ? "–" : h("ins", null, change.new)) },
  ];
  return [
    h("p", null, h("strong", null, `${found.old} → ${found.new}. `), found.measures_differently ? "Runs with the two cannot be compared: principles or topics differ." : "Runs with the two measure the same."),
    found.note && h("p", { class: "muted" }, found.note),
    ["principles", "topics", "governance"].map((kind) => [h("h3", null, format.word(kind)), table(`Changes of ${kind}`, columns, found[kind], { empty: "No change." })]),
  ];
}

async function one({ params, signal }) {
  const set = await get(`/v1/reference-sets/${seg(params.id)}`, { signal });
  const topicsOf = (id) => Object.entries(set.topics ?? {}).filter(([, ids]) => ids.includes(id)).map(([topic]) => format.word(topic)).join(", ");
  return [
    head(set.title, { above: ["Reference set ", code(`${set.id} ${set.version}`)], actions: [h("a", { class: "button", href: `#/references${query({ new: set.id })}` }, "Compare with another")] }),
    section("Governance", facts([
      ["Steward", set.steward], ["Responsible", set.responsible], ["Source", set.source], ["Next review", set.review_date],
      ["Languages", (set.languages ?? []).join(", ")], ["Consulted", (set.stakeholders_consulted ?? []).join("; ")],
    ]), set.changes?.length ? table("Changes of the set", [
      { title: "Version", header: true, cell: (change) => String(change.version ?? "") },
      { title: "When", cell: (change) => String(change.date ?? "–") },
      { title: "What", cell: (change) => String(change.text ?? change.summary ?? change.what ?? JSON.stringify(change)) },
    ], set.changes) : null),
    section("Principles", table("Principles of the set", [
      { title: "Principle", header: true, cell: (one) => [one.heading, h("div", { class: "small muted" }, code(one.id))] },
      { title: "Text", cell: (one) => one.text },
      { title: "Topics", cell: (one) => topicsOf(one.id) || "–" },
      { title: "Source", cell: (one) => one.source || "–" },
    ], set.principles)),
  ];
}
