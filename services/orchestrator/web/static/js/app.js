// Begins the page: addresses (in the hash), focus, titles, sign-in.

import { key, learnCaller, may } from "./api.js";
import { announce, h, notify, put } from "./dom.js";
import { errorPanel } from "./components.js";
import { applyTheme, drawNavigation, drawTools, listenForKeys, markPlace, signInPanel, usePageKeys } from "./shell.js";

/** [pattern, module that draws it]; `:name` takes one segment. The first that fits is used. */
const PAGES = [
  ["/", () => import("./pages/overview.js")],
  ["/runs", () => import("./pages/runs.js")],
  ["/runs/new", () => import("./pages/newrun.js")],
  ["/runs/:id", () => import("./pages/run.js")],
  ["/compare", () => import("./pages/compare.js")],
  ["/adapters", () => import("./pages/adapters.js")],
  ["/adapters/:name", () => import("./pages/adapter.js")],
  ["/routes", () => import("./pages/routes.js")],
  ["/routes/:name", () => import("./pages/routes.js")],
  ["/references", () => import("./pages/references.js")],
  ["/references/:id", () => import("./pages/references.js")],
  ["/monitors", () => import("./pages/monitors.js")],
  ["/monitors/:id", () => import("./pages/monitor.js")],
  ["/reviews", () => import("./pages/reviews.js")],
  ["/reviews/:id", () => import("./pages/review.js")],
  ["/webhooks", () => import("./pages/webhooks.js")],
  ["/webhooks/:id", () => import("./pages/webhooks.js")],
  ["/audit", () => import("./pages/audit.js")],
];

const main = document.getElementById("main");
let leaving = new AbortController();
let first = true;
let signingIn = false;

function find(path) {
  const parts = path.split("/").filter(Boolean);
  for (const [pattern, load] of PAGES) {
    const wanted = pattern.split("/").filter(Boolean);
    if (wanted.length !== parts.length) continue;
    const params = {};
    const fits = wanted.every((part, place) => {
      if (!part.startsWith(":")) return part === parts[place];
      params[part.slice(1)] = parts[place];
      return true;
    });
    if (fits) return { load, params };
  }
  return null;
}

function decoded(params) {
  return Object.fromEntries(Object.entries(params).map(([name, value]) => [name, decodeURIComponent(value)]));
}

async function show() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  usePageKeys({});
  notify("");
  markPlace();
  const [path, search = ""] = location.hash.replace(/^#/, "").split("?");
  if (!may("read") && !path.startsWith("/reviews")) {
    location.replace("#/reviews");
    return;
  }
  const found = find(path || "/");
  main.setAttribute("aria-busy", "true");
  const slow = setTimeout(() => { if (!signal.aborted) put(main, h("p", { class: "muted" }, "Loading…")); }, 200);
  let page;
  try {
    if (!found) throw new Error(`There is no page ${path}. The navigation above has all of them.`);
    const module = await found.load();
    page = await module.default({ params: decoded(found.params), query: new URLSearchParams(search), path, signal, again: show });
  } catch (error) {
    if (error.status === 401) return;
    page = [h("h1", { tabindex: "-1" }, "This page cannot be shown"), errorPanel(moduleIsGone(error) ? new Error("This page is of an older version of valign than the server. Load it again.") : error)];
  } finally {
    clearTimeout(slow);
  }
  if (signal.aborted) return;
  put(main, page);
  main.removeAttribute("aria-busy");
  const heading = main.querySelector("h1");
  const title = heading?.textContent ?? "valign";
  document.title = title === "valign" ? title : `${title} – valign`;
  if (!first) {
    scrollTo(0, 0);
    heading?.focus({ preventScroll: true });
    announce(title);
  }
  first = false;
}

const moduleIsGone = (error) => error instanceof TypeError && /module/i.test(error.message);

function signIn(reason) {
  if (signingIn) return;
  signingIn = true;
  leaving.abort();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  put(document.getElementById("nav"));
  put(main, signInPanel(reason, () => { signingIn = false; first = false; show(); }));
  main.removeAttribute("aria-busy");
  document.title = "Sign in – valign";
}

async function begin() {
  applyTheme();
  drawTools();
  listenForKeys();
  document.addEventListener("valign:signin", (event) => signIn(event.detail));
  addEventListener("hashchange", () => { if (!signingIn) show(); });
  if (document.documentElement.dataset.credentials === "required" && !key.get()) {
    signIn("");
    return;
  }
  try {
    await learnCaller();
    drawTools();
  } catch (error) {
    if (error.status === 401) return;
    put(main, h("h1", { tabindex: "-1" }, "valign"), errorPanel(error),
      h("button", { type: "button", onclick: () => location.reload() }, "Try again"));
    main.removeAttribute("aria-busy");
    return;
  }
  await Promise.all([show(), drawNavigation()]);
}

begin();
