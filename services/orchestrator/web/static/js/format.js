// Numbers, times and states as people read them. Every number that can be missing has a dash.

const DASH = "–";
const known = (value) => value !== null && value !== undefined && Number.isFinite(Number(value));

/** A value difference (1 - cosine similarity, in [0, 2], no unit). */
export const difference = (value) => (known(value) ? Number(value).toFixed(4) : DASH);

/** An estimate {value, low, high} with its interval. */
export function interval(estimate, show = difference) {
  if (!estimate || !known(estimate.value)) return DASH;
  const bounds = known(estimate.low) && known(estimate.high) ? ` [${show(estimate.low)}, ${show(estimate.high)}]` : "";
  return show(estimate.value) + bounds;
}

export const percent = (share, digits = 0) => (known(share) ? `${(100 * share).toFixed(digits)} %` : DASH);
export const whole = (value) => (known(value) ? Number(value).toLocaleString("en") : DASH);

/** A number of unknown size, to four figures. */
export const number = (value) => (known(value) ? String(Number(Number(value).toPrecision(4))) : DASH);

/** Seconds as a duration. */
export function duration(seconds) {
  if (!known(seconds)) return DASH;
  const whole = Math.max(0, Number(seconds));
  if (whole < 0.95) return `${Math.round(whole * 1000)} ms`;
  if (whole < 60) return `${whole < 10 ? whole.toFixed(1) : Math.round(whole)} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(whole % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** An ISO time in the reader's zone, to the second. */
export function time(iso) {
  if (!iso) return DASH;
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return String(iso);
  const two = (part) => String(part).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** How long ago, in words. */
export function ago(iso) {
  const seconds = (Date.now() - new Date(iso).getTime()) / 1000;
  if (!Number.isFinite(seconds)) return DASH;
  if (seconds < 45) return "just now";
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} d ago`;
}

export const shorten = (text, most = 160) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
export const hash = (sha) => (sha ? sha.slice(0, 12) : DASH);

/** A name of the API as a word: "topic.means" or "pause_requested" as people write it. */
export const word = (name) => {
  const text = String(name ?? "").replace(/[._-]/g, " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
};

// A state is told by a glyph and a word; the colour only repeats it.
const STATES = {
  good: ["✓", ["succeeded", "settled", "serving", "proven", "promoted", "promote", "pass", "intact", "ok", "delivered", "closed", "normal", "active", "steady", "cleared"]],
  busy: ["◐", ["running", "loading", "pending", "measuring", "connected", "open", "in progress"]],
  wait: ["○", ["queued", "paused", "trained", "candidate", "hold", "warn", "waiting", "not measured", "unknown", "not_measured", "learning", "baseline", "draft", "starting", "unconfirmed", "small", "acknowledged"]],
  bad: ["✕", ["failed", "reject", "rejected", "fail", "away", "broken", "drift", "drifted", "dead", "alarm", "alarming", "failing", "identity", "raised"]],
};

/** [glyph, kind] of a state's word. */
export function stateOf(word) {
  const name = String(word).toLowerCase();
  for (const [kind, [glyph, words]] of Object.entries(STATES)) if (words.includes(name)) return [glyph, kind];
  return ["•", "plain"];
}
