// What stays around the pages: navigation, who is signed in, light and dark, shortcuts.

import { caller, has, key, learnCaller, may } from "./api.js";
import { h, newId, put } from "./dom.js";
import { errorPanel, field } from "./components.js";

/** [address, title, the key after "g", the operation that must be there]. */
const PLACES = [
  ["#/", "Overview", "o"],
  ["#/runs", "Runs", "r"],
  ["#/compare", "Compare", "c"],
  ["#/adapters", "Adapters", "a"],
  ["#/routes", "Routes", "t"],
  ["#/references", "References", "s"],
  ["#/monitors", "Monitors", "m", "listMonitors"],
  ["#/reviews", "Reviews", "v", "listReviews"],
  ["#/webhooks", "Webhooks", "w", "listWebhooks"],
  ["#/audit", "Audit log", "l"],
];

const THEMES = ["auto", "light", "dark"];
const THEME = "valign.theme";
const SINGLE_KEYS = "valign.shortcuts";
const places = new Set();

/** Draw the navigation with what this server has. */
export async function drawNavigation() {
  places.clear();
  for (const [address, , , needs] of PLACES) if (needs ? await has(needs) : may("read")) places.add(address);
  put(document.getElementById("nav"), h("ul", null, PLACES.filter(([address]) => places.has(address))
    .map(([address, title]) => h("li", null, h("a", { href: address }, title)))));
  markPlace();
}

/** Mark where we are. */
export function markPlace() {
  const now = `#/${location.hash.split("?")[0].split("/")[1] ?? ""}`;
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.getAttribute("href") === now) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** Draw the tools at the right: theme, shortcuts, who is here. */
export function drawTools() {
  const theme = h("button", { type: "button", class: "quiet", onclick: () => { nextTheme(); drawTools(); document.querySelector("#tools button").focus(); } }, `Theme: ${currentTheme()}`);
  const help = h("button", { type: "button", class: "quiet", "aria-keyshortcuts": "?", onclick: showShortcuts }, "Shortcuts");
  const who = caller.name ? h("span", { class: "who", title: `Scopes: ${caller.scopes.join(", ")}` }, caller.name) : null;
  const out = key.get() ? h("button", { type: "button", class: "quiet", onclick: signOut }, "Sign out") : null;
  put(document.getElementById("tools"), theme, help, who, out);
}

function currentTheme() {
  const kept = localStorage.getItem(THEME);
  return THEMES.includes(kept) ? kept : "auto";
}

/** Set the theme that was chosen; "auto" follows the system. */
export function applyTheme() {
  const theme = currentTheme();
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function nextTheme() {
  localStorage.setItem(THEME, THEMES[(THEMES.indexOf(currentTheme()) + 1) % THEMES.length]);
  applyTheme();
}

function signOut() {
  key.forget();
  caller.name = "";
  caller.scopes = [];
  location.hash = "#/";
  location.reload();
}

/** The panel that takes an API key, in place of the page; `then` is called once one is accepted. */
export function signInPanel(reason, then) {
  const hadKey = Boolean(key.get());
  key.forget();
  caller.name = "";
  caller.scopes = [];
  drawTools();
  const input = h("input", { type: "password", autocomplete: "off", spellcheck: "false", required: true });
  const problem = h("div", null, hadKey && reason ? h("p", { class: "error", role: "alert" }, `The key is no longer accepted: ${reason}`) : null);
  const form = h("form", { class: "card narrow", onsubmit: async (event) => {
    event.preventDefault();
    key.set(input.value.trim());
    put(problem);
    try {
      await learnCaller();
      drawTools();
      await drawNavigation();
      then();
    } catch (error) {
      key.forget();
      put(problem, errorPanel(error));
      input.focus();
    }
  } },
  h("h1", { tabindex: "-1" }, "Sign in"),
  h("p", null, "This server asks for a credential. The key stays in this tab, and is forgotten with it."),
  field("API key", input, "An operator makes one with: valign keys create"),
  problem,
  h("div", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Sign in")));
  setTimeout(() => input.focus(), 0);
  return form;
}

const pageKeys = new Map();

/** Shortcuts of the page that is shown: {key: [what it does, handler]}; gone with the next page. */
export function usePageKeys(keys) {
  pageKeys.clear();
  for (const [name, entry] of Object.entries(keys)) pageKeys.set(name, entry);
}

const singleKeys = () => localStorage.getItem(SINGLE_KEYS) !== "off";

/** The list of shortcuts, with the switch that turns those of a single key off (WCAG 2.1.4). */
export function showShortcuts() {
  if (document.querySelector("dialog[open]")) return;
  const titleId = newId("shortcuts");
  const rows = [
    ...PLACES.filter(([address]) => places.has(address)).map(([, title, letter]) => [`g ${letter}`, `Go to ${title}`]),
    ["n", "New run"], ["/", "To the page's filter"], ["t", "Next theme"], ["?", "This list"], ["Esc", "Close a dialog"],
    ...[...pageKeys].map(([name, [title]]) => [name, `${title} (on this page)`]),
  ];
  const box = h("input", { type: "checkbox", id: newId("keys"), checked: singleKeys(), onchange: (event) => localStorage.setItem(SINGLE_KEYS, event.target.checked ? "on" : "off") });
  const dialog = h("dialog", { "aria-labelledby": titleId, onclose: () => dialog.remove() },
    h("h2", { id: titleId }, "Keyboard shortcuts"),
    h("dl", { class: "keys" }, rows.map(([keys, title]) => h("div", null, h("dt", null, keys.split(" ").map((one) => [h("kbd", null, one), " "])), h("dd", null, title)))),
    h("p", null, box, h("label", { for: box.id }, " Shortcuts of single keys are on")),
    h("div", { class: "actions" }, h("button", { type: "button", class: "primary", onclick: () => dialog.close() }, "Close")));
  document.body.append(dialog);
  dialog.showModal();
}

let afterG = 0;

function onKey(event) {
  const target = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (target.isContentEditable || ["TEXTAREA", "SELECT"].includes(target.tagName)) return;
  if (target.tagName === "INPUT" && !["checkbox", "radio", "button"].includes(target.type)) return;
  if (document.querySelector("dialog[open]") || !singleKeys()) return;
  if (Date.now() - afterG < 1500) {
    afterG = 0;
    const place = PLACES.find(([address, , letter]) => letter === event.key && places.has(address));
    if (place) {
      event.preventDefault();
      location.hash = place[0];
    }
    return;
  }
  const found = pageKeys.get(event.key)?.[1] ?? KEYS[event.key];
  if (found) {
    event.preventDefault();
    found();
  }
}

const KEYS = {
  g: () => { afterG = Date.now(); },
  n: () => { location.hash = "#/runs/new"; },
  t: () => { nextTheme(); drawTools(); },
  "?": showShortcuts,
  "/": () => document.querySelector("main [data-filter]")?.focus(),
};

/** Listen for shortcuts. */
export function listenForKeys() {
  document.addEventListener("keydown", onKey);
  document.getElementById("skip").addEventListener("click", (event) => {
    // The hash is the address of a page, so the browser's own jump is no use here.
    event.preventDefault();
    document.getElementById("main").focus();
  });
}
