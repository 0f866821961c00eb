// Units and concepts in rows, ranked, with their masks and switches; and a closer look at one.

import { element, newestOnly, trying } from "./page.js";
import { drawTile } from "./masks.js";
import { look, showPlaces } from "./picture.js";
import { act, at, changedBefore, goesWith, moved, now, POSITIONS, remember, share, thresholds, unitsAt, view, writeAddress } from "./view.js";

const ROWS = 16;

let shown = ROWS;

const signed = (value) => (Math.abs(value) < 0.005 ? "0.00" : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`);

/** All units, or all concepts, with what removing them does. */
function entries() {
  const of = now.reasons[view.kind];
  const effects = (k) => Object.fromEntries(Object.entries(of).map(([name, values]) => [name, values[k]]));
  if (view.kind === "concepts") {
    return now.layer.concepts.map((concept, k) => ({ ...concept, ...effects(k), key: `c${k}`, number: Math.min(...concept.units) }));
  }
  return now.layer.units.map((one, k) => ({ ...one, ...effects(k), units: [one.unit], key: `u${k}`, number: k }));
}

const ORDER = {
  for: (one, other) => one.logit - other.logit || one.number - other.number,
  against: (one, other) => other.logit - one.logit || one.number - other.number,
  area: (one, other) => other.area - one.area || one.number - other.number,
  number: (one, other) => one.number - other.number,
  found: (one, other) => goesWith(other.units) - goesWith(one.units) || one.number - other.number,
};

function wanted(one) {
  const word = at("search").value.trim().toLowerCase();
  if (!word) return true;
  const text = `${one.name ?? one.concept ?? ""} ${one.category ?? ""}`.toLowerCase();
  return /^\d+$/.test(word) ? one.units.includes(Number(word)) : text.includes(word);
}

export async function showRows() {
  if (!now.reasons || !now.layer) return;
  const all = entries().filter(wanted).sort(ORDER[view.order]);
  const most = Math.max(...entries().map((one) => Math.abs(one.logit)), 1e-9);
  const visible = all.slice(0, shown);
  at("rows-head").hidden = !visible.length;
  at("rows-head").firstElementChild.textContent = view.kind === "units" ? "unit and its concept" : "concept and its units";
  at("rows").replaceChildren(...visible.map((one) => rowOf(one, most)));
  if (!visible.length) at("rows").append(element("li", { class: "empty" }, emptyList()));
  at("show-more").hidden = all.length <= shown;
  at("show-more").textContent = `Show ${Math.min(ROWS, all.length - shown)} more of ${all.length}`;
  showSwitches();
  await drawTiles(visible);
}

function emptyList() {
  if (at("search").value.trim()) return "Nothing here is called so.";
  return "No unit of this layer is a detector of a concept.";
}

const drawTiles = newestOnly(async (visible) => {
  const of = now.maps;
  await trying(() => of.of(visible.flatMap((one) => one.units)));
  if (of !== now.maps) return;
  for (const one of visible) {
    const tile = at("rows").querySelector(`[data-key="${one.key}"] canvas`);
    if (!tile) continue;
    drawTile(tile, now.picture, one.units.map((unit) => now.maps.known.get(unit)), thresholds(one.units), Math.max(1, Math.round(tile.width / 56)));
  }
});

function rowOf(one, most) {
  const scale = devicePixelRatio || 1;
  const tile = element("canvas", { ".width": Math.round(60 * scale), ".height": Math.round(60 * scale), "aria-hidden": "true" });
  const isUnit = view.kind === "units";
  const title = isUnit ? `unit ${one.unit}` : one.name;
  const open = element("button", { type: "button", class: "look", title: "Look at it closely" }, tile);
  open.setAttribute("aria-label", `Look at ${title} closely`);
  open.addEventListener("click", () => openCard(one));
  const label = isUnit ? unitLabel(one) : element("span", {}, `${one.category}; ${listUnits(one.units)}`);
  const found = goesWith(one.units);
  const area = `${share(one.area)} of the image${found === null ? "" : `; correlation ${found.toFixed(2)}`}`;
  const what = element("div", { class: "what" }, element("b", { class: isUnit ? "" : "dot" }, title), label, element("small", {}, area), element("small", { class: "mixed" }));
  if (!isUnit) paintDot(what.firstChild, one.category);
  const bar = element("i", { class: one.logit < 0 ? "loss" : "gain" });
  bar.style.setProperty("--v", (50 * Math.abs(one.logit)) / most);
  const turns = one.prediction === now.answer.predicted[0] ? "" : `: ${now.run.classes[one.prediction]}`;
  const effect = element(
    "div",
    { class: "does" },
    element("span", { class: "effect-track", "aria-hidden": "true" }, bar),
    element("span", {}, `logit ${signed(one.logit)}; ${moved(now.reasons.before, now.reasons.before + one.probability)}`),
    turns ? element("small", { class: "turns" }, `changes the answer${turns}`) : null,
  );
  const row = element("li", { class: "row", "data-key": one.key }, open, what, effect, switchOf(one, title));
  row.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") look(one.units); });
  row.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") look(null); });
  row.addEventListener("focusin", () => look(one.units));
  row.addEventListener("focusout", () => look(null));
  return row;
}

function unitLabel(one) {
  if (!one.concept) return element("span", { class: "none" }, one.verdict);
  const label = element("span", { class: "dot" }, one.concept, element("small", { title: now.layer.verdicts[one.verdict] }, ` ${one.verdict}`));
  return paintDot(label, one.category);
}

function paintDot(label, category) {
  const colour = now.layer.colours[category];
  if (colour) label.style.setProperty("--c", `light-dark(${colour.light}, ${colour.dark})`);
  return label;
}

function listUnits(units) {
  if (units.length === 1) return `unit ${units[0]}`;
  return `units ${units.slice(0, 5).join(", ")}${units.length > 5 ? ` and ${units.length - 5} more` : ""}`;
}

const SWITCHES = [
  ["", "as is", "As the network has it"],
  ["off", "off", "Set to 0"],
  ["mean", "mean", "Set to its mean over the images of the run"],
  ["on", "on", "Set to its threshold"],
];

function switchOf(one, title) {
  const has = (value) => one.units.every((unit) => now.layer.units[unit][value] !== null);
  const settable = { off: true, mean: has("mean"), on: has("threshold") };
  const options = SWITCHES.map(([position, word, about]) => {
    const input = element("input", { type: "radio", name: one.key, value: position, ".disabled": position !== "" && !(settable[position] && now.layer.positions.includes(position)) });
    input.addEventListener("change", () => setUnits(one.units, position));
    return element("label", { title: about }, input, word);
  });
  return element("div", { class: "choice switch", role: "radiogroup", "aria-label": `Switch of ${title}` }, ...options);
}

function setUnits(units, position) {
  remember();
  for (const unit of units) {
    if (position) view.switched.set(unit, position);
    else view.switched.delete(unit);
  }
  return act.changed();
}

export function showSwitches() {
  for (const row of at("rows").querySelectorAll(".row")) {
    const [kind, number] = [row.dataset.key[0], Number(row.dataset.key.slice(1))];
    const units = kind === "c" ? now.layer.concepts[number].units : [number];
    const there = new Set(units.map((unit) => view.switched.get(unit) ?? ""));
    for (const input of row.querySelectorAll("input")) input.checked = there.size === 1 && there.has(input.value);
    row.classList.toggle("set", there.size > 1 || !there.has(""));
    const away = units.filter((unit) => view.switched.has(unit)).length;
    row.querySelector(".mixed").textContent = there.size > 1 ? `${away} of ${units.length} switched` : "";
  }
  const chips = [];
  for (const position of POSITIONS) {
    for (const unit of unitsAt(position)) {
      const concept = now.layer?.units[unit]?.verdict === "detector" ? ` ${now.layer.units[unit].concept}` : "";
      const chip = element("button", { type: "button", class: "chip", "aria-label": `Unit ${unit} is ${position}: put it back` }, `${unit}${concept} `, element("b", {}, position), " ×");
      chip.addEventListener("click", () => {
        setUnits([unit], "");
        (at("switched").querySelector("button") ?? at("smallest")).focus();
      });
      chip.addEventListener("pointerenter", () => look([unit]));
      chip.addEventListener("pointerleave", () => look(null));
      chips.push(chip);
    }
  }
  const most = 24;
  const rest = chips.length > most ? [element("small", {}, `and ${chips.length - most} more`)] : [];
  at("switched").replaceChildren(...chips.slice(0, most), ...rest);
  at("reset").disabled = view.switched.size === 0 && !view.mask;
  at("undo").disabled = !changedBefore();
  showPlaces();
}

function openCard(one) {
  const isUnit = one.unit !== undefined;
  const about = one.concept ? `${one.concept}, ${one.category}` : "no concept";
  at("card-head").replaceChildren(isUnit ? `Unit ${one.unit} ` : `${one.name} `, element("small", {}, isUnit ? about : `${one.category}; ${listUnits(one.units)}`));
  at("card-says").textContent = isUnit ? `${one.verdict}: ${now.layer.verdicts[one.verdict]}.` : "All units together whose verdict is detector of it.";
  at("card-strip").parentElement.hidden = !one.exemplars;
  if (one.exemplars) {
    at("card-strip").src = `api/unit?layer=${encodeURIComponent(view.layer)}&unit=${one.unit}`;
    at("card-strip").alt = `The images that excite unit ${one.unit} most, its mask drawn on each`;
  }
  const numbers = [["IoU", one.iou], ["held out", one.heldout_iou], ["chance", one.chance_iou], ["threshold", one.threshold], ["mean", one.mean], ["largest in this image", one.peak]];
  at("card-numbers").textContent = numbers.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => `${name} ${Number(value.toPrecision(3))}`).join("; ");
  at("card-where").textContent = `In this image: above ${isUnit ? "its threshold" : "their thresholds"} on ${share(one.area)} of it.`;
  drawHere(one);
  at("card").showModal();
}

/** The image with the mask of what the card is of. */
function drawHere({ units }) {
  const canvas = at("card-here").querySelector("canvas");
  const scale = 640 / Math.max(now.picture.naturalWidth, now.picture.naturalHeight);
  canvas.width = Math.round(now.picture.naturalWidth * scale);
  canvas.height = Math.round(now.picture.naturalHeight * scale);
  canvas.setAttribute("aria-label", "The image with the mask on it");
  const there = units.every((unit) => now.maps.known.has(unit));
  drawTile(canvas, now.picture, there ? units.map((unit) => now.maps.known.get(unit)) : [], thresholds(units), 4);
}

/** Show the first rows again, as others are asked for. */
export function showFirst() {
  shown = ROWS;
  return showRows();
}

export function listenToUnits() {
  for (const radio of document.querySelectorAll("input[name=kind]")) {
    radio.addEventListener("change", () => {
      view.kind = radio.value;
      writeAddress();
      showFirst();
    });
  }
  at("order").addEventListener("change", () => {
    view.order = at("order").value;
    writeAddress();
    showFirst();
  });
  at("search").addEventListener("input", showRows);
  at("show-more").addEventListener("click", () => {
    shown += ROWS;
    showRows();
  });
}
