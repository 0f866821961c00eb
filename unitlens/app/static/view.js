// What the exploring page shows: all of it is sent with every request, and stands in the address.

import { searched } from "./find.js";
import { address, Mask } from "./page.js";

export const POSITIONS = ["off", "mean", "on"];
const ORDERS = ["for", "against", "area", "number", "found"];
const PAST = 100;

export const at = (id) => document.getElementById(id);
export const share = (value) => `${Number((100 * value).toPrecision(2))} %`;
export const moved = (was, is) => (share(was) === share(is) ? share(is) : `${share(was)} → ${share(is)}`);

/** An image through a layer, the class that is followed, and where units are switched to. */
export const view = { layer: "", image: "0", class_: null, switched: new Map(), mask: null, kind: "units", order: "for", words: "", like: false };
/** What the server said of it: the run, the layer, the image with its maps, the answer, the reasons, the units that go with words or the image; and units that are looked at. */
export const now = { run: null, layer: null, picture: null, maps: null, answer: null, reasons: null, looked: null, found: null };
/** Names of images that were sent. */
export const names = new Map();
/** What the parts of the page have done by the whole: show another view, or the same one with other switches. */
export const act = { show: null, changed: null, search: null };
const past = [];

export function unitsAt(position) {
  return [...view.switched].filter(([, there]) => there === position).map(([unit]) => unit).sort((one, other) => one - other);
}

export function thresholds(units) {
  return units.map((unit) => now.layer.units[unit].threshold);
}

/** How much units go with the words or the image that is searched by; null where nothing is. */
export function goesWith(units) {
  return now.found ? Math.max(...units.map((unit) => now.found.scores[unit])) : null;
}

const letters = (text) => text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

function state() {
  const groups = Object.fromEntries(POSITIONS.map((position) => [position, unitsAt(position).join(".")]));
  const mask = view.mask ? `${view.mask.rows}x${view.mask.columns}.${letters(view.mask.packed())}` : undefined;
  return {
    image: view.image,
    layer: now.run.layers.length > 1 ? view.layer : undefined,
    class: view.class_ ?? undefined,
    ...groups,
    where: mask,
    kind: view.kind === "units" ? undefined : view.kind,
    order: view.order === "for" ? undefined : view.order,
    ...searched(view),
  };
}

export function writeAddress() {
  address.write(state());
}

export function remember() {
  past.push(state());
  if (past.length > PAST) past.shift();
}

export function take(given) {
  view.layer = now.run.layers.includes(given.layer) ? given.layer : now.run.layers.at(-1);
  view.image = given.image ?? "0";
  const class_ = Number(given.class ?? NaN);
  view.class_ = Number.isInteger(class_) && class_ >= 0 && class_ < now.run.classes.length ? class_ : null;
  view.switched = new Map();
  for (const position of POSITIONS) {
    for (const word of (given[position] ?? "").split(".")) if (/^\d{1,6}$/.test(word)) view.switched.set(Number(word), position);
  }
  const [, rows, columns, packed] = /^(\d{1,3})x(\d{1,3})\.([\w-]*)$/.exec(given.where ?? "") ?? [];
  view.mask = rows && packed.length % 4 !== 1 ? Mask.unpacked(Number(rows), Number(columns), packed.replaceAll("-", "+").replaceAll("_", "/")) : null;
  view.kind = given.kind === "concepts" ? "concepts" : "units";
  act.search.take(given);
  const orders = view.words || view.like ? ORDERS : ORDERS.filter((order) => order !== "found");
  view.order = orders.includes(given.order) ? given.order : "for";
  document.querySelector(`input[name=kind][value=${view.kind}]`).checked = true;
  at("order").value = view.order;
  at("layer").value = view.layer;
}

/** What was shown before the last change, if anything was. */
export function before() {
  return past.pop();
}

export const changedBefore = () => past.length > 0;
