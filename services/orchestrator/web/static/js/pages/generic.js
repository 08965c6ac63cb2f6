// Numbers whose shape the server fixes, shown as they are: facts, tables, estimates with their intervals.

import { h } from "../dom.js";
import * as format from "../format.js";
import { badge, exact, facts, table } from "../components.js";

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const isEstimate = (value) => isObject(value) && "value" in value && ("low" in value || "high" in value);

/** One value in words. */
export function plain(value) {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "number") return Number.isInteger(value) ? format.whole(value) : format.number(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (isEstimate(value)) return format.interval(value, (one) => format.number(one)) + (value.n ? ` (n = ${format.whole(value.n)})` : "");
  if (Array.isArray(value)) return value.map(plain).join(", ");
  if (isObject(value)) return Object.entries(value).map(([name, one]) => `${format.word(name)}: ${plain(one)}`).join("; ");
  return String(value);
}

const isFlat = (value) => !isObject(value) && !(Array.isArray(value) && value.some(isObject)) || isEstimate(value);

/** An object as facts, and its parts below under headings. */
export function tree(value, level = 3) {
  const entries = Object.entries(value);
  const flat = entries.filter(([, one]) => isFlat(one) && one !== null && one !== "");
  const deep = entries.filter(([, one]) => !isFlat(one) && (!Array.isArray(one) || one.length));
  return [
    flat.length ? facts(flat.map(([name, one]) => [format.word(name), shown(name, one)])) : null,
    deep.map(([name, one]) => [h(`h${Math.min(level, 6)}`, null, format.word(name)), isObject(one) ? parts(one, name, level) : rowsTable(name, one)]),
  ];
}

// Objects of equal shape side by side are rows of a table.
function parts(value, name, level) {
  const entries = Object.entries(value);
  const alike = entries.length > 1 && entries.every(([, one]) => isObject(one) && !isEstimate(one) && Object.values(one).every(isFlat));
  return alike ? rowsTable(name, entries.map(([key, one]) => ({ [name]: format.word(key), ...one }))) : tree(value, level + 1);
}

// Rows of any shape as a table.
function rowsTable(name, rows) {
  const columns = [...new Set(rows.flatMap((row) => (isObject(row) ? Object.keys(row) : [])))];
  return table(format.word(name), columns.map((column, place) => ({
    title: format.word(column), header: place === 0, number: place > 0 && rows.some((row) => typeof row[column] === "number" || isEstimate(row[column])), cell: (row) => shown(column, row[column]),
  })), rows);
}

const ZONED = /^\d{4}-\d\d-\d\dT\d\d:\d\d/;

function shown(name, value) {
  if (typeof value === "string" && ["state", "status", "outcome"].includes(name)) return badge(value);
  if (typeof value === "string" && ZONED.test(value)) return exact(value);
  return plain(value);
}
