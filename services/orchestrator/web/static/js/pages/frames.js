// A whole document (a report, a comparison) in a sandboxed frame: no scripts, no origin, no network.

import { h } from "../dom.js";

/** The frame with the document in it. The frame's page asks for it once it is there. */
export function documentFrame(title, html, signal) {
  const frame = h("iframe", { class: "frame", title, sandbox: "allow-scripts", src: new URL("../../frame.html", import.meta.url).pathname });
  const listen = (event) => {
    if (event.source !== frame.contentWindow || event.data !== "valign-frame-ready") return;
    // The frame has no origin that could be named; only our own file is ever loaded in it.
    frame.contentWindow.postMessage({ document: html }, "*");
  };
  addEventListener("message", listen, { signal });
  return frame;
}
