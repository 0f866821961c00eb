// Explore a classifier: an image, its answer, the units that it rests on, and switches.

import { address, ask, askLong, copyAddress, decoded, element, Mask, newestOnly, say, trying } from "./page.js";
import { drawTile, inside, Maps, overlay } from "./masks.js";

const POSITIONS = ["off", "mean", "on"];
const ROWS = 16;
const LISTED = 24;
const PAST = 100;

const at = (id) => document.getElementById(id);
const share = (value) => `${Number((100 * value).toPrecision(2))} %`;
const signed = (value) => (Math.abs(value) < 0.005 ? "0.00" : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`);
const moved = (was, is) => (share(was) === share(is) ? share(is) : `${share(was)} → ${share(is)}`);

const run = await trying(() => ask("api/run"));
const layers = new Map();
const past = [];
/** What is shown: an image through a layer, the class that is followed, and where units are switched to. */
const view = { layer: "", image: "0", class_: null, switched: new Map(), mask: null, kind: "units", order: "for" };
let layer = null;
let picture = null;
let maps = null;
let reasons = null;
let answer = null;
let shown = ROWS;
let looked = null; // units whose mask is on the image
let cursor = null;
let stroke = null;
let listing = { start: 0, of: null };
const names = new Map(); // of images that were sent

// ---- the images ----

async function list({ more = false } = {}) {
  listing.of?.abort();
  const stopping = new AbortController();
  listing.of = stopping;
  if (!more) {
    listing.start = 0;
    at("images").replaceChildren();
  }
  at("more").hidden = true;
  const bar = shownLater(at("listing"));
  await trying(async () => {
    const asked = { start: listing.start, count: LISTED, class_: at("class").value || null, wrong: at("wrong").checked };
    const found = await askLong("api/images", { layer: view.layer, ...asked }, bar.show, { signal: stopping.signal });
    listing.start = found.go_on_at;
    at("images").append(...found.images.map(thumbnail));
    at("more").hidden = found.go_on_at >= run.images;
    if (!at("images").children.length) at("images").append(element("li", { class: "none" }, "no such image"));
    markImage();
  });
  bar.hide();
}

function thumbnail({ number, name, class_ }) {
  const image = element("img", { src: `api/image?image=${number}&size=small`, alt: "", loading: "lazy", width: 72, height: 72 });
  const button = element("button", { type: "button", "data-image": String(number), title: name }, image, element("span", {}, class_ ?? name));
  button.addEventListener("click", () => choose(String(number)));
  return element("li", {}, button);
}

function markImage() {
  for (const button of at("images").querySelectorAll("button")) {
    button.setAttribute("aria-current", String(button.dataset.image === view.image));
  }
}

/** A bar that comes only where the work takes longer than a moment. */
function shownLater(bar) {
  const timer = setTimeout(() => { bar.hidden = false; }, 200);
  bar.removeAttribute("value");
  return {
    show: (value) => { bar.value = value; },
    hide: () => {
      clearTimeout(timer);
      bar.hidden = true;
    },
  };
}

async function nextWrong() {
  const from = /^\d+$/.test(view.image) ? Number(view.image) + 1 : 0;
  const bar = shownLater(at("listing"));
  at("next-wrong").disabled = true;
  await trying(async () => {
    for (const start of [from, 0]) {
      const asked = { layer: view.layer, start, count: 1, class_: at("class").value || null, wrong: true };
      const found = await askLong("api/images", asked, bar.show);
      if (found.images.length) return choose(String(found.images[0].number));
    }
    return say("No image with a known class is classified wrongly.");
  });
  at("next-wrong").disabled = false;
  bar.hide();
}

async function send(file) {
  if (!file) return;
  await trying(async () => {
    say(`Reading ${file.name || "the image"}…`);
    const sent = await ask(`api/upload?name=${encodeURIComponent(file.name || "pasted image")}`, file);
    names.set(sent.image, sent.name);
    await choose(sent.image);
  });
}

function choose(image) {
  remember();
  Object.assign(view, { image, class_: null });
  view.switched.clear();
  view.mask = null;
  return show();
}

// ---- what is shown ----

const load = newestOnly(async () => {
  await trying(async () => {
    const { layer: name, image } = view;
    if (!layers.has(name)) layers.set(name, await ask(`api/layer?layer=${encodeURIComponent(name)}`));
    if (layer !== layers.get(name)) {
      layer = layers.get(name);
      reasons = null;
    }
    await switchUnits();
    if (maps?.image !== image || maps.layer !== name) {
      picture = await decoded(`api/image?image=${encodeURIComponent(image)}`);
      maps = new Maps(name, image);
      reasons = null;
      looked = null;
      shown = ROWS;
      paintPicture();
      markImage();
    }
    explain();
  });
});

/** Show the view: its image and layer, the answer with switches, and reasons where they are other ones. */
function show() {
  writeAddress();
  return load();
}

async function switchUnits() {
  const { layer: name, image } = view;
  const partly = view.mask !== null;
  const groups = POSITIONS.map((position) => ({ position, units: unitsAt(position) }));
  answer = await ask("api/switch", {
    layer: name,
    image,
    class_: view.class_,
    switches: groups.filter((group) => group.units.length),
    grid: partly ? [view.mask.rows, view.mask.columns] : null,
    mask: partly ? view.mask.packed() : "",
  });
  showAnswer();
}

const apply = newestOnly(() => trying(switchUnits));

/** After switches were set: the address, the rows, the answer. */
function changed() {
  writeAddress();
  showSwitches();
  paintCover();
  return apply();
}

function unitsAt(position) {
  return [...view.switched].filter(([, there]) => there === position).map(([unit]) => unit).sort((one, other) => one - other);
}

function showAnswer() {
  const [before, after] = answer.predicted;
  const tag = (text, kind) => element("small", { class: kind }, text);
  const rows = answer.classes.map(({ output, name, probability: [was, is] }) => {
    const tags = [];
    if (output === after) tags.push(tag("predicted", "tag"));
    else if (output === before) tags.push(tag("before", "tag was"));
    if (output === answer.own) tags.push(tag("its class", "tag own"));
    const row = at("answer").querySelector(`[data-output="${output}"]`) ?? classRow(output, name);
    row.querySelector(".name").replaceChildren(name, ...tags);
    row.querySelector(".moved").textContent = moved(was, is);
    row.querySelector("i").style.setProperty("--v", 100 * is);
    row.querySelector("b").style.setProperty("--v", 100 * was);
    row.setAttribute("aria-pressed", String(output === answer.followed));
    row.classList.toggle("first", output === after);
    return row;
  });
  // rows that stay where they are keep the focus, and their bars move
  if (rows.some((row, k) => row !== at("answer").children[k])) at("answer").replaceChildren(...rows);
  while (at("answer").children.length > rows.length) at("answer").lastChild.remove();
  const image = names.get(view.image) ?? answer.name;
  const own = answer.class ? `, ${answer.class}` : "";
  let verdict = "";
  if (answer.own !== null && answer.own !== undefined) verdict = before === answer.own ? ": right" : ": wrong";
  at("about").replaceChildren(element("b", {}, image), `${own}${verdict}`);
  at("where").hidden = answer.grid.reduce((size, side) => size * side, answer.grid.length ? 1 : 0) < 2;
  at("mini").textContent = answer.sentence;
  say(answer.sentence);
}

function classRow(output, name) {
  const track = element("span", { class: "track", "aria-hidden": "true" }, element("i"), element("b"));
  const row = element(
    "button",
    { type: "button", class: "class", "data-output": String(output), title: `What speaks for ${name}` },
    element("span", { class: "name" }),
    track,
    element("span", { class: "moved" }),
  );
  row.addEventListener("click", () => {
    remember();
    view.class_ = output;
    show();
  });
  return row;
}

let explaining = null;
let explained = "";

/** Ask what the answer rests on, unless that is shown already; what was asked before is not waited for any more. */
async function explain() {
  const asked = { layer: view.layer, image: view.image, class_: view.class_ };
  const key = JSON.stringify(asked);
  if (key === explained && reasons) return;
  explaining?.abort();
  const stopping = new AbortController();
  explaining = stopping;
  explained = key;
  const bar = shownLater(at("explaining"));
  at("rows").classList.add("busy");
  await trying(async () => {
    const found = await askLong("api/reasons", asked, bar.show, { signal: stopping.signal });
    reasons = found;
    at("why").textContent = reasons.sentence;
    at("reasons-head").textContent = `What ${run.classes[reasons.followed]} rests on`;
    await showRows();
  });
  if (explaining !== stopping) return;
  explaining = null;
  at("rows").classList.remove("busy");
  bar.hide();
}

// ---- units and concepts ----

/** All units, or all concepts, with what removing them does. */
function entries() {
  const of = reasons[view.kind];
  const effects = (k) => Object.fromEntries(Object.entries(of).map(([name, values]) => [name, values[k]]));
  if (view.kind === "concepts") {
    return layer.concepts.map((concept, k) => ({ ...concept, ...effects(k), key: `c${k}`, number: Math.min(...concept.units) }));
  }
  return layer.units.map((one, k) => ({ ...one, ...effects(k), units: [one.unit], key: `u${k}`, number: k }));
}

const ORDERS = {
  for: (one, other) => one.logit - other.logit || one.number - other.number,
  against: (one, other) => other.logit - one.logit || one.number - other.number,
  area: (one, other) => other.area - one.area || one.number - other.number,
  number: (one, other) => one.number - other.number,
};

function wanted(one) {
  const word = at("search").value.trim().toLowerCase();
  if (!word) return true;
  const text = `${one.name ?? one.concept ?? ""} ${one.category ?? ""}`.toLowerCase();
  return /^\d+$/.test(word) ? one.units.includes(Number(word)) : text.includes(word);
}

async function showRows() {
  if (!reasons || !layer) return;
  const all = entries().filter(wanted).sort(ORDERS[view.order]);
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
  const of = maps;
  await trying(() => of.of(visible.flatMap((one) => one.units)));
  if (of !== maps) return;
  for (const one of visible) {
    const tile = at("rows").querySelector(`[data-key="${one.key}"] canvas`);
    if (!tile) continue;
    drawTile(tile, picture, one.units.map((unit) => maps.known.get(unit)), thresholds(one.units), Math.max(1, Math.round(tile.width / 56)));
  }
});

function thresholds(units) {
  return units.map((unit) => layer.units[unit].threshold);
}

function rowOf(one, most) {
  const scale = devicePixelRatio || 1;
  const tile = element("canvas", { ".width": Math.round(60 * scale), ".height": Math.round(60 * scale), "aria-hidden": "true" });
  const isUnit = view.kind === "units";
  const title = isUnit ? `unit ${one.unit}` : one.name;
  const open = element("button", { type: "button", class: "look", title: "Look at it closely" }, tile);
  open.setAttribute("aria-label", `Look at ${title} closely`);
  open.addEventListener("click", () => openCard(one));
  const label = isUnit ? unitLabel(one) : element("span", {}, `${one.category}; ${listUnits(one.units)}`);
  const area = `${share(one.area)} of the image`;
  const what = element("div", { class: "what" }, element("b", { class: isUnit ? "" : "dot" }, title), label, element("small", {}, area), element("small", { class: "mixed" }));
  if (!isUnit) paintDot(what.firstChild, one.category);
  const bar = element("i", { class: one.logit < 0 ? "loss" : "gain" });
  bar.style.setProperty("--v", (50 * Math.abs(one.logit)) / most);
  const turns = one.prediction === answer.predicted[0] ? "" : `: ${run.classes[one.prediction]}`;
  const effect = element(
    "div",
    { class: "does" },
    element("span", { class: "effect-track", "aria-hidden": "true" }, bar),
    element("span", {}, `logit ${signed(one.logit)}; ${moved(reasons.before, reasons.before + one.probability)}`),
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
  const label = element("span", { class: "dot" }, one.concept, element("small", { title: layer.verdicts[one.verdict] }, ` ${one.verdict}`));
  return paintDot(label, one.category);
}

function paintDot(label, category) {
  const colour = layer.colours[category];
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
  const settable = { off: true, mean: one.units.every((unit) => layer.units[unit].mean !== null), on: one.units.every((unit) => layer.units[unit].threshold !== null) };
  const options = SWITCHES.map(([position, word, about]) => {
    const input = element("input", { type: "radio", name: one.key, value: position, ".disabled": position !== "" && !settable[position] });
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
  return changed();
}

function showSwitches() {
  for (const row of at("rows").querySelectorAll(".row")) {
    const [kind, number] = [row.dataset.key[0], Number(row.dataset.key.slice(1))];
    const units = kind === "c" ? layer.concepts[number].units : [number];
    const there = new Set(units.map((unit) => view.switched.get(unit) ?? ""));
    for (const input of row.querySelectorAll("input")) input.checked = there.size === 1 && there.has(input.value);
    row.classList.toggle("set", there.size > 1 || !there.has(""));
    const away = units.filter((unit) => view.switched.has(unit)).length;
    row.querySelector(".mixed").textContent = there.size > 1 ? `${away} of ${units.length} switched` : "";
  }
  const chips = [];
  for (const position of POSITIONS) {
    for (const unit of unitsAt(position)) {
      const concept = layer?.units[unit]?.verdict === "detector" ? ` ${layer.units[unit].concept}` : "";
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
  at("undo").disabled = past.length === 0;
  const painted = view.mask !== null;
  document.querySelector(`input[name=where][value=${painted ? "painted" : "all"}]`).checked = true;
  at("brush").hidden = !painted;
  at("cover").classList.toggle("paints", painted);
  setPaintable(painted);
}

function setPaintable(painted) {
  const cover = at("cover");
  for (const [name, value] of [["tabindex", "0"], ["role", "application"], ["aria-label", "Where units are held: arrow keys move, space paints or wipes"], ["aria-describedby", "keys"]]) {
    if (painted) cover.setAttribute(name, value);
    else cover.removeAttribute(name);
  }
}

function openCard(one) {
  const isUnit = one.unit !== undefined;
  const about = one.concept ? `${one.concept}, ${one.category}` : "no concept";
  at("card-head").replaceChildren(isUnit ? `Unit ${one.unit} ` : `${one.name} `, element("small", {}, isUnit ? about : `${one.category}; ${listUnits(one.units)}`));
  at("card-says").textContent = isUnit ? `${one.verdict}: ${layer.verdicts[one.verdict]}.` : "All units together whose verdict is detector of it.";
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
  const scale = 640 / Math.max(picture.naturalWidth, picture.naturalHeight);
  canvas.width = Math.round(picture.naturalWidth * scale);
  canvas.height = Math.round(picture.naturalHeight * scale);
  canvas.setAttribute("aria-label", "The image with the mask on it");
  const there = units.every((unit) => maps.known.has(unit));
  drawTile(canvas, picture, there ? units.map((unit) => maps.known.get(unit)) : [], thresholds(units), 4);
}

// ---- the image ----

function paintPicture() {
  const canvas = at("picture");
  canvas.width = picture.naturalWidth;
  canvas.height = picture.naturalHeight;
  canvas.getContext("2d").drawImage(picture, 0, 0);
  paintCover();
}

async function look(units) {
  looked = units;
  if (units && maps) await trying(() => maps.of(units));
  if (looked === units) paintCover();
}

function paintCover() {
  const canvas = at("cover");
  const scale = devicePixelRatio || 1;
  const box = canvas.getBoundingClientRect();
  const [width, height] = [Math.round(box.width * scale), Math.round(box.height * scale)];
  if (!width || !height) return;
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, width, height);
  if (looked && maps && looked.every((unit) => maps.known.has(unit))) {
    const mask = inside(looked.map((unit) => maps.known.get(unit)), thresholds(looked), width, height);
    pen.putImageData(overlay(mask, width, height, Math.max(1, Math.round(width / 200))), 0, 0);
  } else if (view.mask) {
    paintPlaces(pen, stroke?.mask ?? view.mask);
  }
  if (cursor && view.mask) paintCursor(pen);
}

/** Hatch the places where units are held. */
function paintPlaces(pen, mask) {
  const [width, height] = [pen.canvas.width / mask.columns, pen.canvas.height / mask.rows];
  const places = new Path2D();
  for (let row = 0; row < mask.rows; row += 1) {
    for (let column = 0; column < mask.columns; column += 1) {
      if (mask.has(row, column)) places.rect(column * width, row * height, width, height);
    }
  }
  pen.save();
  pen.clip(places);
  pen.fillStyle = "rgba(255, 221, 51, .22)";
  pen.fillRect(0, 0, pen.canvas.width, pen.canvas.height);
  pen.lineWidth = Math.max(1, pen.canvas.width / 260);
  const step = pen.canvas.width / 32;
  for (const [colour, shift] of [["rgba(0, 0, 0, .55)", pen.lineWidth], ["rgba(255, 221, 51, .95)", 0]]) {
    pen.strokeStyle = colour;
    pen.beginPath();
    for (let x = -pen.canvas.height; x < pen.canvas.width; x += step) {
      pen.moveTo(x + shift, pen.canvas.height);
      pen.lineTo(x + shift + pen.canvas.height, 0);
    }
    pen.stroke();
  }
  pen.restore();
}

function paintCursor(pen) {
  const mask = new Mask(view.mask.rows, view.mask.columns);
  mask.dab(cursor.y, cursor.x, radius());
  const [width, height] = [pen.canvas.width / mask.columns, pen.canvas.height / mask.rows];
  for (const [colour, thick] of [["#000", 3], ["#fff", 1.5]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = (thick * pen.canvas.width) / 500;
    for (let row = 0; row < mask.rows; row += 1) {
      for (let column = 0; column < mask.columns; column += 1) {
        if (mask.has(row, column)) pen.strokeRect(column * width, row * height, width, height);
      }
    }
  }
}

const radius = () => Number(at("size").value);

function place(event) {
  const box = at("cover").getBoundingClientRect();
  const within = (value, most) => Math.min(Math.max(value, 0), most - 1e-6);
  return {
    y: within(((event.clientY - box.top) / box.height) * view.mask.rows, view.mask.rows),
    x: within(((event.clientX - box.left) / box.width) * view.mask.columns, view.mask.columns),
  };
}

function begin(point) {
  const wipes = view.mask.has(Math.floor(point.y), Math.floor(point.x));
  stroke = { mask: copied(view.mask), drawn: new Mask(view.mask.rows, view.mask.columns), wipes, last: point };
  extend(point);
}

function extend(point) {
  stroke.drawn.line(stroke.last, point, radius());
  stroke.last = point;
  stroke.drawn.on.forEach((on, k) => {
    if (on) stroke.mask.on[k] = stroke.wipes ? 0 : 1;
  });
  paintCover();
}

function end() {
  if (!stroke) return;
  const { mask } = stroke;
  stroke = null;
  remember();
  view.mask = mask;
  changed();
}

function copied(mask) {
  const copy = new Mask(mask.rows, mask.columns);
  copy.on.set(mask.on);
  return copy;
}

function onKey(event) {
  if (!view.mask) return;
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const { rows, columns } = view.mask;
  if (moves[event.key]) {
    cursor ??= { y: rows / 2, x: columns / 2 };
    const step = (value, by, most) => Math.min(Math.max(Math.floor(value) + 0.5 + by, 0.5), most - 0.5);
    cursor = { y: step(cursor.y, moves[event.key][0], rows), x: step(cursor.x, moves[event.key][1], columns) };
    say(`Row ${Math.ceil(cursor.y)} of ${rows}, column ${Math.ceil(cursor.x)} of ${columns}.`);
    paintCover();
  } else if (event.key === " " || event.key === "Enter") {
    cursor ??= { y: rows / 2, x: columns / 2 };
    begin(cursor);
    end();
  } else {
    return;
  }
  event.preventDefault();
}

// ---- the smallest set ----

let searching = null;

async function findSmallest() {
  searching?.abort();
  const stopping = new AbortController();
  searching = stopping;
  at("smallest").disabled = true;
  at("search-bar").hidden = false;
  at("searched").removeAttribute("value");
  say("Looking for the smallest set of units whose removal changes the answer…");
  const [name, image] = [view.layer, view.image];
  try {
    const found = await askLong("api/smallest", { layer: name, image }, (value) => { at("searched").value = value; }, { signal: stopping.signal });
    if (name === view.layer && image === view.image) await showSmallest(found);
  } catch (error) {
    say(error.name === "AbortError" ? "The search was stopped." : error.message, { wrong: error.name !== "AbortError" });
  }
  if (searching === stopping) {
    at("smallest").disabled = false;
    at("search-bar").hidden = true;
  }
}

async function showSmallest(found) {
  if (found.units.length) {
    remember();
    view.mask = null;
    view.switched = new Map(found.units.map((unit) => [unit, "off"]));
    await changed();
  }
  say(found.sentence);
}

// ---- the address, and what was before ----

const letters = (text) => text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

function state() {
  const groups = Object.fromEntries(POSITIONS.map((position) => [position, unitsAt(position).join(".")]));
  const mask = view.mask ? `${view.mask.rows}x${view.mask.columns}.${letters(view.mask.packed())}` : undefined;
  return {
    image: view.image,
    layer: run.layers.length > 1 ? view.layer : undefined,
    class: view.class_ ?? undefined,
    ...groups,
    where: mask,
    kind: view.kind === "units" ? undefined : view.kind,
    order: view.order === "for" ? undefined : view.order,
  };
}

function writeAddress() {
  address.write(state());
}

function remember() {
  past.push(state());
  if (past.length > PAST) past.shift();
}

function take(given) {
  view.layer = run.layers.includes(given.layer) ? given.layer : run.layers.at(-1);
  view.image = given.image ?? "0";
  const class_ = Number(given.class ?? NaN);
  view.class_ = Number.isInteger(class_) && class_ >= 0 && class_ < run.classes.length ? class_ : null;
  view.switched = new Map();
  for (const position of POSITIONS) {
    for (const word of (given[position] ?? "").split(".")) if (/^\d{1,6}$/.test(word)) view.switched.set(Number(word), position);
  }
  const [, rows, columns, packed] = /^(\d{1,3})x(\d{1,3})\.([\w-]*)$/.exec(given.where ?? "") ?? [];
  view.mask = rows ? Mask.unpacked(Number(rows), Number(columns), packed.replaceAll("-", "+").replaceAll("_", "/")) : null;
  view.kind = given.kind === "concepts" ? "concepts" : "units";
  view.order = given.order in ORDERS ? given.order : "for";
  document.querySelector(`input[name=kind][value=${view.kind}]`).checked = true;
  at("order").value = view.order;
  at("layer").value = view.layer;
}

async function goTo(given) {
  take(given);
  await show();
  await showRows();
}

// ---- what a person does ----

function listen() {
  at("own").addEventListener("click", () => at("file").click());
  at("file").addEventListener("change", async () => {
    await send(at("file").files[0]);
    at("file").value = "";
  });
  at("class").addEventListener("change", () => list());
  at("wrong").addEventListener("change", () => list());
  at("more").addEventListener("click", () => list({ more: true }));
  at("next-wrong").addEventListener("click", nextWrong);
  at("layer").addEventListener("change", () => {
    remember();
    Object.assign(view, { layer: at("layer").value, mask: null });
    view.switched.clear();
    show();
  });
  for (const radio of document.querySelectorAll("input[name=kind]")) {
    radio.addEventListener("change", () => {
      view.kind = radio.value;
      shown = ROWS;
      writeAddress();
      showRows();
    });
  }
  at("order").addEventListener("change", () => {
    view.order = at("order").value;
    shown = ROWS;
    writeAddress();
    showRows();
  });
  at("search").addEventListener("input", showRows);
  at("show-more").addEventListener("click", () => {
    shown += ROWS;
    showRows();
  });
  at("smallest").addEventListener("click", findSmallest);
  at("stop").addEventListener("click", () => searching?.abort());
  at("reset").addEventListener("click", () => {
    remember();
    view.switched.clear();
    view.mask = null;
    changed();
  });
  at("undo").addEventListener("click", undo);
  at("copy").addEventListener("click", copyAddress);
  for (const radio of document.querySelectorAll("input[name=where]")) {
    radio.addEventListener("change", () => {
      remember();
      view.mask = radio.value === "painted" ? new Mask(...answer.grid) : null;
      changed();
    });
  }
  at("size").addEventListener("input", () => {
    at("size-is").textContent = at("size").value;
    paintCover();
  });
  at("unpaint").addEventListener("click", () => repaint(() => 0));
  at("invert").addEventListener("click", () => repaint((on) => 1 - on));
  listenToCover();
  listenToDrops();
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || event.target.matches?.("input[type=search]")) return;
    event.preventDefault();
    undo();
  });
  addEventListener("hashchange", () => goTo(address.read()));
  addEventListener("resize", paintCover);
}

function undo() {
  const before = past.pop();
  if (before) goTo(before);
}

function repaint(value) {
  if (!view.mask) return;
  remember();
  view.mask = copied(view.mask);
  view.mask.on = view.mask.on.map(value);
  changed();
}

function listenToCover() {
  const cover = at("cover");
  cover.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !view.mask) return;
    cover.setPointerCapture(event.pointerId);
    cursor = place(event);
    begin(cursor);
  });
  cover.addEventListener("pointermove", (event) => {
    if (!view.mask) return;
    cursor = place(event);
    if (stroke) extend(cursor);
    else paintCover();
  });
  for (const name of ["pointerup", "pointercancel"]) {
    cover.addEventListener(name, (event) => {
      if (event.pointerType !== "mouse") cursor = null;
      end();
    });
  }
  cover.addEventListener("pointerleave", () => {
    if (stroke) return;
    cursor = null;
    paintCover();
  });
  cover.addEventListener("keydown", onKey);
}

function listenToDrops() {
  let inside_ = 0;
  const files = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragenter", (event) => {
    if (files(event)) at("drop").hidden = ++inside_ < 1;
  });
  addEventListener("dragleave", (event) => {
    if (files(event)) at("drop").hidden = --inside_ < 1;
  });
  addEventListener("dragover", (event) => { if (files(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    inside_ = 0;
    at("drop").hidden = true;
    send(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (file) send(file);
  });
}

if (run) {
  document.title = `Explore a network · ${run.run}`;
  at("run").textContent = `${run.network}, run ${run.run}`;
  const [height, width] = run.image;
  at("screen").style.aspectRatio = `${width} / ${height}`;
  at("layer").append(...run.layers.map((name) => element("option", { value: name }, name)));
  at("layers").hidden = run.layers.length < 2;
  const classes = run.image_classes ?? [];
  at("class").append(...classes.map((name) => element("option", { value: name }, name)));
  at("of-class").hidden = classes.length < 2;
  at("of-wrong").hidden = at("next-wrong").hidden = run.image_classes?.length === 0;
  at("size-is").textContent = at("size").value;
  listen();
  take(address.read());
  list();
  await show();
}
