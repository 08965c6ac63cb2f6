// Elements from plain calls. Whatever comes from outside becomes a text node: nothing here parses markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element. `props`: `class`, `on<event>` handlers, `value`/`checked`/`disabled` and the like, attributes;
 * null and false leave a prop out. `children`: nodes, texts, numbers, arrays of these; null is left out. */
export function h(tag, props = null, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** An SVG element. */
export function s(tag, props = null, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

const PROPERTIES = new Set(["value", "checked", "disabled", "open", "selected", "readOnly", "required"]);

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

/** Append children, as `h` takes them. */
export function add(element, ...children) {
  for (const child of children.flat(9)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

/** Replace all children. */
export function put(element, ...children) {
  element.replaceChildren();
  return add(element, ...children);
}

let counted = 0;

/** An id that no other element has. */
export function newId(prefix) {
  counted += 1;
  return `${prefix}-${counted}`;
}

/** Say something to a screen reader, without showing it. */
export function announce(text) {
  const box = document.getElementById("announcer");
  box.textContent = "";
  // A reader hears a change, so an equal text must be one as well.
  setTimeout(() => { box.textContent = text; }, 30);
}

/** Show a short message until the next page, and say it. */
export function notify(text, kind = "good") {
  put(document.getElementById("notice"), text && h("p", { class: `notice ${kind}` }, text));
}
