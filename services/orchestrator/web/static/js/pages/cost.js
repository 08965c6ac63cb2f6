// What a run used, against its plan and its budget.

import { h } from "../dom.js";
import * as format from "../format.js";
import { section, table } from "../components.js";
import { budgetReached } from "./runstate.js";

// What people read; the names in a report that it is the sum of; the budget's limit for it.
const ROWS = [
  ["Completions", ["completions"]],
  ["Tokens", ["prompt_tokens", "completion_tokens"], "max_tokens"],
  ["Log-probabilities", ["scores"]],
  ["Texts embedded", ["embeddings"]],
  ["Training steps", ["training_steps"], "max_training_steps"],
  ["GPU seconds", ["gpu_s"], "max_gpu_s"],
  ["Seconds", ["wall_s"], "max_wall_s"],
];

const sum = (sums, names) => {
  const found = names.filter((name) => name in sums);
  return found.length ? Math.round(found.reduce((total, name) => total + sums[name], 0)) : null;
};

/** The part of the page; null for a report that does not tell. */
export function costPart(report) {
  if (!report.cost) return null;
  const { total_used: used, total_planned: planned, budget } = report.cost;
  const limits = report.study?.budget ?? {};
  const rows = ROWS.map(([title, names, limit]) => ({ title, used: sum(used, names), planned: sum(planned, names), allowed: limits[limit] ?? null }))
    .filter((row) => row.used || row.planned || row.allowed);
  return section("Cost",
    budget ? h("p", null, h("strong", null, "The budget was reached. "), budgetReached(budget)) : null,
    table("What the run used, over all its attempts", [
      { title: "What", header: true, cell: (row) => row.title },
      { title: "Used", number: true, cell: (row) => format.whole(row.used) },
      { title: "Plan", number: true, cell: (row) => format.whole(row.planned) },
      { title: "Budget", number: true, cell: (row) => format.whole(row.allowed) },
    ], rows));
}
