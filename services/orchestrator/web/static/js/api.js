// Calls of valign's REST API: the credential, problems as errors, event streams that resume.

const KEY = "valign.key";

/** The key is kept in this tab's session alone, and ends with it. */
export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** Who calls, and what it may do; filled by `learnCaller`. */
export const caller = { name: "", scopes: [] };

/** Whether the caller's scopes allow what needs `scope`: "admin" includes every other, and each includes "read" but
 * "review", since whoever rates blind must not read elsewhere what wrote a text. */
export function may(scope) {
  if (caller.scopes.includes("admin") || caller.scopes.includes(scope)) return true;
  return scope === "read" && caller.scopes.some((one) => one !== "review");
}

/** Why the caller may not, in words; "" if it may. */
export function whyNot(scope) {
  return may(scope) ? "" : `This needs the scope “${scope}”; ${caller.name || "you"} has ${caller.scopes.join(", ") || "none"}.`;
}

/** What the server answered instead of what was asked for: `detail` says what was wrong, and what to do. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The server answered ${status}.`);
    this.status = status;
    this.code = body.code ?? "";
    this.title = body.title ?? "";
    this.errors = Array.isArray(body.errors) ? body.errors : [];
    this.requestId = body.request_id ?? "";
  }
}

async function problemOf(answer) {
  const text = await answer.text();
  try {
    return new Problem(answer.status, JSON.parse(text));
  } catch {
    return new Problem(answer.status, { detail: `${answer.status} ${answer.statusText}`.trim() });
  }
}

/** Ask the server. `json` or `text` is the body; the raw Response, or a Problem is thrown. */
export async function ask(method, path, { json, text, headers = {}, signal } = {}) {
  const sent = { ...headers };
  if (key.get()) sent.Authorization = `Bearer ${key.get()}`;
  let body;
  if (json !== undefined) {
    sent["Content-Type"] = "application/json";
    body = JSON.stringify(json);
  } else if (text !== undefined) {
    sent["Content-Type"] ??= "application/yaml";
    body = text;
  }
  let answer;
  try {
    answer = await fetch(path, { method, headers: sent, body, signal, credentials: "omit", redirect: "error", cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, { title: "No connection", detail: "The orchestrator does not answer. Is it running, and is the network there?" });
  }
  if (answer.ok) return answer;
  const problem = await problemOf(answer);
  if (problem.status === 401) document.dispatchEvent(new CustomEvent("valign:signin", { detail: problem.message }));
  throw problem;
}

export const get = async (path, options) => (await ask("GET", path, options)).json();
export const getText = async (path, options) => (await ask("GET", path, options)).text();
export const post = async (path, json = undefined, options = {}) => (await ask("POST", path, { json, ...options })).json();

/** One segment of a path. */
export const seg = encodeURIComponent;

/** A query with what is set. */
export function query(values) {
  const set = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return set.length ? `?${new URLSearchParams(set)}` : "";
}

/** 32 random hex digits. */
export function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Fill `caller`; throws as `ask` does. */
export async function learnCaller() {
  const found = await get("/v1/caller");
  caller.name = found.name;
  caller.scopes = found.scopes;
}

// What whoever may only rate needs: it is not let see the description of the rest.
const RATING = new Map([
  ["listReviews", "GET", "/v1/reviews"],
  ["getReview", "GET", "/v1/reviews/{review_id}"],
  ["nextReviewItem", "POST", "/v1/reviews/{review_id}/next"],
  ["listReviewItems", "GET", "/v1/reviews/{review_id}/items"],
  ["rateReviewItem", "PUT", "/v1/reviews/{review_id}/items/{number}/rating"],
  ["flagReviewItem", "PUT", "/v1/reviews/{review_id}/items/{number}/flag"],
].map(([operation, method, path]) => [operation, { method, path, summary: operation, description: "", texts: [] }]));

let described;

/** What the server offers, by operation id: {method, path, summary, description, texts: [[name, what it is, required]]}.
 * Parts that it was built without are not shown. */
export async function operations() {
  if (!may("read")) return RATING;
  described ??= get("/openapi.json").then((found) => new Map(Object.entries(found.paths).flatMap(([path, methods]) =>
    Object.entries(methods).filter(([, one]) => one.operationId).map(([method, one]) => [one.operationId,
      { method: method.toUpperCase(), path, summary: one.summary ?? one.operationId, description: one.description ?? "", texts: textsOf(one, found) }]))));
  try {
    return await described;
  } catch (error) {
    described = undefined;
    throw error;
  }
}

// The texts that an operation's body takes.
function textsOf(operation, document) {
  let schema = operation.requestBody?.content?.["application/json"]?.schema ?? {};
  if (schema.$ref) schema = document.components.schemas[schema.$ref.split("/").at(-1)] ?? {};
  return Object.entries(schema.properties ?? {}).filter(([, one]) => one.type === "string")
    .map(([name, one]) => [name, one.description ?? "", (schema.required ?? []).includes(name)]);
}

/** Whether the server has an operation, by its id. */
export const has = async (operation) => (await operations()).has(operation);

/** Call an operation by its id: `params` fill its path, `search` is its query; the Response. */
export async function operate(operation, params = {}, { search = {}, ...options } = {}) {
  const found = (await operations()).get(operation);
  if (!found) throw new Problem(0, { title: "Not here", detail: `This server has no ${operation}.` });
  const path = found.path.replace(/\{(\w+)(?::\w+)?\}/g, (_, name) => seg(params[name]));
  return ask(found.method, path + query(search), options);
}

/** The same, with the JSON of the answer. */
export const call = async (...args) => (await operate(...args)).json();

/** Save what a route answers as a file. */
export async function download(path, name, options = { method: "GET" }) {
  await save(await ask(options.method, path, options), name);
}

/** Save an answer as a file. */
export async function save(answer, name) {
  const url = URL.createObjectURL(await answer.blob());
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

const SLOWEST_MS = 15_000;

/** Follow a stream of server-sent events (HTML standard, section 9.2) by fetch, which can carry the credential.
 *
 * `onEvent({number, kind, time, data})`; `onState("connected" | "waiting")`. A connection that breaks is opened
 * again after the last event seen, later and later; resolves once the stream is over (204).
 */
export async function follow(path, { onEvent, onState, signal }) {
  let last = "";
  let tries = 0;
  while (!signal.aborted) {
    try {
      const answer = await ask("GET", path, { headers: last ? { "Last-Event-ID": last } : {}, signal });
      if (answer.status === 204) return;
      onState("connected");
      for await (const block of blocks(answer.body)) {
        tries = 0;
        if (block.id) last = block.id;
        if (block.data) onEvent(JSON.parse(block.data));
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && [401, 403, 404].includes(error.status)) throw error;
      onState("waiting");
    }
    tries += 1;
    const pause = Math.min(SLOWEST_MS, 250 * 2 ** tries) * (0.75 + Math.random() / 2);
    await sleep(tries === 1 ? 100 : pause, signal);
  }
}

async function* blocks(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let held = "";
  let over = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      over = done;
      if (done) return;
      // A carriage return at the end may be one half of a line's end.
      const text = held + value;
      held = text.endsWith("\r") ? "\r" : "";
      rest += (held ? text.slice(0, -1) : text).replace(/\r\n?/g, "\n");
      let end;
      while ((end = rest.indexOf("\n\n")) >= 0) {
        yield blockOf(rest.slice(0, end));
        rest = rest.slice(end + 2);
      }
    }
  } finally {
    if (!over) reader.cancel().catch(() => {});
  }
}

function blockOf(text) {
  const block = { id: "", data: "" };
  for (const line of text.split("\n")) {
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (name === "id") block.id = value;
    if (name === "data") block.data += (block.data && "\n") + value;
  }
  return block;
}

export function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
