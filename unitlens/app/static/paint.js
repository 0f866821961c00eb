// Paint concepts into and out of a scene: strokes are masks on the layer's grid, and the server draws the scene with them.
import { Mask, address, ask, askLong, copyAddress, decoded, download, element, newestOnly, percent, say, trying } from "./page.js";

const at = (id) => document.getElementById(id);
const run = await trying(() => ask("api/run"));

/** What is shown: all of it is sent with every request, and stands in the address. */
const view = { scene: 0, strokes: [], undone: [] };
/** What the next stroke is made with. */
const brush = { concept: 0, left: new Set() };
/** What adding and removing are done with, until a person chooses otherwise: adding takes more units, and more of them. */
const usual = {
  add: { strength: 2, count: (units) => Math.round(0.6 * units), order: "difference" },
  remove: { strength: 1, count: () => 20, order: "iou" },
};
/** The scene as it was drawn last. */
const drawn = { before: null, after: null, key: "" };
const seen = new Map();
let stroke = null;
let cursor = null;

// ---- what is painted with ----

const concept = () => run.concepts[brush.concept];
const layer = () => run.layers[concept().layer];
const action = () => document.querySelector("input[name=action]:checked").value;
const hasGrid = () => layer().grid.length === 2;

/** The units of the concept, in the order that is chosen; what is not known of a unit comes last. */
function unitsInOrder() {
  const key = at("order").value;
  const worth = (one) => (one[key] === null ? -Infinity : key === "difference" ? Math.abs(one[key]) : one[key]);
  return [...concept().units].sort((one, other) => worth(other) - worth(one)).slice(0, Number(at("count").value));
}

function unitsInUse() {
  return unitsInOrder().filter((one) => !brush.left.has(one.unit));
}

function newStroke(mask) {
  return {
    concept: brush.concept,
    units: unitsInUse().map((one) => one.unit),
    action: action(),
    strength: Number(at("strength").value),
    everywhere: mask === null,
    mask: mask === null ? "" : mask.packed(),
  };
}

function showConcepts() {
  const best = Math.max(...run.concepts.map((one) => one.units[0].iou));
  at("concepts").replaceChildren(
    ...run.concepts.map((one, number) => {
      const iou = one.units[0].iou;
      const bar = element("i");
      bar.style.width = `${(100 * iou) / best}%`;
      return element(
        "label",
        { class: "concept", title: `${one.name} (${one.category}): best IoU ${iou.toFixed(2)}` },
        element("input", { type: "radio", name: "concept", value: number, ".checked": number === brush.concept }),
        element("b", {}, one.name),
        element("span", { class: "meter", "aria-hidden": "true" }, bar),
        element("small", {}, element("span", { class: "unseen" }, "best IoU "), iou.toFixed(2)),
      );
    }),
  );
}

/** Show the concepts of the layer that is chosen, and of these the ones that are looked for. */
function filterConcepts() {
  const wanted = at("search").value.trim().toLowerCase();
  [...at("concepts").children].forEach((label, number) => {
    const one = run.concepts[number];
    label.hidden = one.layer !== concept().layer || !one.name.toLowerCase().includes(wanted);
  });
}

function chooseLayer() {
  const number = Number(at("layer").value);
  const name = concept().name;
  const same = run.concepts.findIndex((one) => one.layer === number && one.name === name);
  tick(same >= 0 ? same : run.concepts.findIndex((one) => one.layer === number));
}

/** Choose a concept as if a person had. */
function tick(number) {
  const labels = [...at("concepts").children];
  labels.forEach((label, place) => {
    label.querySelector("input").checked = place === number;
  });
  chooseConcept(number);
  const [list, label] = [at("concepts"), labels[number]];
  if (label) list.scrollTop = label.offsetTop - list.offsetTop - list.clientHeight / 2;
}

function showBrush() {
  at("size-is").textContent = at("size").value;
  at("strength-is").textContent = percent(at("strength").value, 0);
  at("count-is").textContent = `${unitsInUse().length} of ${layer().units}`;
  at("size").disabled = !hasGrid();
  const one = concept();
  const detectors = one.units.filter((unit) => unit.concept === one.name && unit.verdict === "detector").length;
  const level = one.typical ? "their mean where it is drawn (100 %), or to twice as far from their overall mean (200 %)" : "their thresholds";
  const does = action() === "add" ? `Adding sets units to ${level}.` : "Removing sets units to 0.";
  const known = one.segmenter_iou === null ? "" : ` What marks the areas finds it with an IoU of ${one.segmenter_iou.toFixed(2)}.`;
  at("about").textContent =
    `${one.name}: ${detectors} of ${layer().units} units of ${layer().name} ${detectors === 1 ? "is its detector" : "are its detectors"}. ` +
    `${does}${known}`;
}

/** What is known of a unit, in a sentence. */
function described(one) {
  const parts = [`unit ${one.unit}: ${one.concept || "no concept"} (${one.verdict})`, `IoU ${one.iou.toFixed(3)} with ${concept().name}`];
  if (one.difference !== null) {
    const side = one.difference < 0 ? "below" : "above";
    parts.push(`${Math.abs(one.difference).toFixed(1)} standard deviations ${side} its mean where that is drawn`);
  }
  if (one.effect !== null) parts.push(`causal effect ${percent(one.effect, 2)} of the image`);
  return parts.join(", ");
}

function showUnits() {
  at("units").replaceChildren(
    ...unitsInOrder().map((one) => {
      const says = described(one);
      const box = element("input", { type: "checkbox", ".checked": !brush.left.has(one.unit), "aria-label": `use ${says}` });
      box.addEventListener("change", () => {
        brush.left[box.checked ? "delete" : "add"](one.unit);
        showBrush();
      });
      const look = element("button", { type: "button", "aria-pressed": "false", title: says }, one.concept || "–");
      look.addEventListener("click", () => showSheet(one, says, look));
      return element("span", { class: "unit" }, element("label", {}, box, String(one.unit)), look);
    }),
  );
  at("sheet").hidden = true;
}

async function showSheet(one, says, button) {
  const pressed = button.getAttribute("aria-pressed") === "true";
  for (const other of at("units").querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
  at("sheet").hidden = pressed;
  if (pressed) return;
  button.setAttribute("aria-pressed", "true");
  const image = at("sheet-image");
  image.alt = `Images in which ${says} is most active, with where it is`;
  image.src = `api/unit?layer=${encodeURIComponent(layer().name)}&unit=${one.unit}`;
  at("sheet-says").textContent = says;
}

/** Set the brush to what the action is usually done with. */
function takeUsual() {
  const { strength, count, order } = usual[action()];
  const units = concept().units;
  const known = { iou: true, difference: concept().typical, effect: units.some((one) => one.effect !== null) };
  for (const option of at("order").options) option.disabled = !known[option.value];
  at("order").value = known[order] ? order : "iou";
  at("strength").max = action() === "add" && concept().typical ? 3 : 1;
  at("strength").value = strength;
  at("count").max = Math.min(units.length, 100);
  at("count").value = count(layer().units);
}

function chooseConcept(number) {
  brush.concept = number;
  brush.left.clear();
  takeUsual();
  at("layer").value = concept().layer;
  filterConcepts();
  at("size").max = hasGrid() ? Math.max(2, Math.min(...layer().grid) / 2) : 1;
  showUnits();
  showBrush();
  paintCover();
  writeAddress();
}

// ---- the scene ----

function paintPicture() {
  const canvas = at("picture");
  const pen = canvas.getContext("2d");
  if (!drawn.after) return;
  pen.drawImage(drawn.after, 0, 0);
  const split = Math.round((canvas.width * at("compare").value) / 100);
  if (split > 0) pen.drawImage(drawn.before, 0, 0, split, canvas.height, 0, 0, split, canvas.height);
}

function paintCover() {
  const canvas = at("cover");
  const scale = devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  if (!run) return;
  if (at("marks").checked) {
    for (const one of view.strokes) if (!one.everywhere) fill(pen, maskOf(one), one.action, 0.28);
  }
  if (stroke) fill(pen, stroke.mask, action(), 0.3);
  else if (cursor && hasGrid()) {
    const mask = new Mask(...layer().grid);
    mask.dab(cursor.y, cursor.x, Number(at("size").value));
    fill(pen, mask, action(), 0.12);
  }
  const split = at("compare").value / 100;
  if (split > 0 && split < 1) {
    pen.fillStyle = "#fff";
    pen.fillRect(canvas.width * split - scale, 0, 2 * scale, canvas.height);
  }
}

function maskOf(one) {
  const grid = run.layers[run.concepts[one.concept].layer].grid;
  return Mask.unpacked(...grid, one.mask);
}

/** Tint the positions of a mask, and draw their outline: solid for what is added, dashed for what is removed. */
function fill(pen, mask, action, opacity) {
  const height = pen.canvas.height / mask.rows;
  const width = pen.canvas.width / mask.columns;
  pen.fillStyle = action === "add" ? `rgba(255, 221, 51, ${opacity})` : `rgba(20, 20, 20, ${opacity})`;
  const outline = new Path2D();
  for (let row = 0; row < mask.rows; row += 1) {
    for (let column = 0; column < mask.columns; column += 1) {
      if (!mask.has(row, column)) continue;
      const [x, y] = [column * width, row * height];
      pen.fillRect(x, y, width, height);
      const edge = (there, x1, y1, x2, y2) => {
        if (there) return;
        outline.moveTo(x1, y1);
        outline.lineTo(x2, y2);
      };
      edge(row > 0 && mask.has(row - 1, column), x, y, x + width, y);
      edge(row < mask.rows - 1 && mask.has(row + 1, column), x, y + height, x + width, y + height);
      edge(column > 0 && mask.has(row, column - 1), x, y, x, y + height);
      edge(column < mask.columns - 1 && mask.has(row, column + 1), x + width, y, x + width, y + height);
    }
  }
  const scale = devicePixelRatio || 1;
  for (const [colour, thickness] of [["rgba(0, 0, 0, .65)", 3], [action === "add" ? "#ffdd33" : "#fff", 1.5]]) {
    pen.setLineDash(action === "add" ? [] : [5 * scale, 4 * scale]);
    pen.strokeStyle = colour;
    pen.lineWidth = thickness * scale;
    pen.stroke(outline);
  }
  pen.setLineDash([]);
}

const draw = newestOnly(async (strokes) => {
  const wait = setTimeout(() => at("screen").classList.add("drawing"), 300);
  await trying(async () => {
    const sent = { scene: view.scene, strokes };
    const key = JSON.stringify(sent);
    const answer = await ask("api/draw", sent);
    const [before, after] = await Promise.all([decoded(answer.before), decoded(answer.after)]);
    Object.assign(drawn, { before, after, key });
    const canvas = at("picture");
    if (canvas.width !== after.width || canvas.height !== after.height) {
      canvas.width = after.width;
      canvas.height = after.height;
    }
    paintPicture();
    keepSeen();
  });
  clearTimeout(wait);
  at("screen").classList.remove("drawing");
  at("screen").dataset.drawn = drawn.key;
});

let measuring = new AbortController();

/** Measure the areas of concepts; the next stroke stops it. */
async function measure() {
  measuring.abort();
  if (!run.areas) return;
  const stopping = (measuring = new AbortController());
  const bar = at("measuring");
  const wait = setTimeout(() => { bar.hidden = false; }, 300);
  await trying(async () => {
    const strokes = [...view.strokes];
    const shown = (share) => { bar.value = share; };
    showAreas(await askLong("api/areas", { scene: view.scene, strokes }, shown, { signal: stopping.signal }), strokes);
  });
  clearTimeout(wait);
  if (stopping === measuring) bar.hidden = true;
}

/** Draw the scene as it is now, measure it, and write the address. */
async function show({ measured = true } = {}) {
  at("undo").disabled = view.strokes.length === 0;
  at("clear").disabled = view.strokes.length === 0;
  at("redo").disabled = view.undone.length === 0;
  at("earlier").disabled = view.scene === 0;
  at("number").value = view.scene;
  paintCover();
  writeAddress();
  await draw([...view.strokes]);
  if (measured) await measure();
}

function showAreas(rows, strokes) {
  const changed = rows.filter((row) => Math.abs(row.after - row.before) >= 0.0005);
  if (strokes.length === 0) {
    const there = [...rows].sort((one, other) => other.before - one.before).slice(0, 6);
    const list = there.map((row) => `${row.concept} ${percent(row.before, 0)}`).join(", ");
    at("areas").replaceChildren(element("p", { class: "hint" }, list ? `In the scene: ${list}.` : "No known concept is in the scene."));
    say(list ? `Scene ${view.scene}: ${list}.` : `Scene ${view.scene}.`);
    return;
  }
  const most = Math.max(0.02, ...changed.map((row) => Math.max(row.before, row.after)));
  const body = changed.slice(0, 8).map((row) => {
    const [low, high] = [Math.min(row.before, row.after), Math.max(row.before, row.after)];
    const bar = element("i");
    bar.style.left = `${(100 * low) / most}%`;
    bar.style.width = `${Math.max(1.5, (100 * (high - low)) / most)}%`;
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, row.concept),
      element("td", {}, percent(row.before)),
      element("td", {}, percent(row.after)),
      element("td", { class: "change" }, element("span", { class: row.after < row.before ? "shift less" : "shift", "aria-hidden": "true" }, bar)),
    );
  });
  const head = ["concept", "before", "after", "change"].map((name) => element("th", { scope: "col" }, name));
  const table = element("table", { class: "table" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
  const note = element("p", { class: "hint" }, "Share of the scene that each concept takes, as the concept source of the run marks it.");
  at("areas").replaceChildren(...(body.length ? [table, note] : [element("p", { class: "hint" }, "No concept takes more or less of the scene than before.")]));
  const last = run.concepts[strokes.at(-1).concept].name;
  const of = rows.find((row) => row.concept === last);
  say(of ? `${last}: ${percent(of.after)} of the scene, ${percent(of.before)} before.` : `${last} is not marked in the scene, before or after.`);
}

/** A small picture of every scene of this visit, with what was painted on it. */
function keepSeen() {
  if (!seen.has(view.scene)) {
    const canvas = element("canvas", { ".width": 64, ".height": 64 });
    const button = element("button", { type: "button", "aria-label": `Scene ${view.scene}` }, canvas);
    const scene = view.scene;
    button.addEventListener("click", () => go(scene));
    seen.set(scene, { canvas, button, strokes: [], undone: [] });
    at("seen").append(button);
    if (seen.size > 40) {
      const [oldest, gone] = seen.entries().next().value;
      seen.delete(oldest);
      gone.button.remove();
    }
  }
  for (const [scene, one] of seen) one.button.setAttribute("aria-current", String(scene === view.scene));
  const { canvas } = seen.get(view.scene);
  canvas.getContext("2d").drawImage(drawn.after, 0, 0, 64, 64);
}

function go(scene) {
  const here = seen.get(view.scene);
  if (here) Object.assign(here, { strokes: view.strokes, undone: view.undone });
  const kept = seen.get(scene);
  Object.assign(view, { scene, strokes: kept?.strokes ?? [], undone: kept?.undone ?? [] });
  at("compare").value = 0;
  return show();
}

// ---- the address ----

function writeAddress() {
  const packed = view.strokes.map((one) => [one.concept, one.units, one.action === "add" ? 1 : 0, one.strength, one.everywhere ? 1 : 0, one.mask]);
  address.write({
    scene: view.scene,
    concept: concept()?.name,
    layer: run.layers.length > 1 ? layer().name : undefined,
    action: action(),
    paint: packed.length ? address.pack(packed) : undefined,
  });
}

function readAddress() {
  const given = address.read();
  const scene = Number(given.scene ?? 0);
  view.scene = Number.isInteger(scene) && scene >= 0 && scene < run.scenes ? scene : 0;
  const packed = given.paint ? address.unpack(given.paint) : [];
  view.undone = [];
  view.strokes = [];
  if (Array.isArray(packed)) {
    view.strokes = packed.map(([number, units, adds, strength, everywhere, mask]) => ({
      concept: number,
      units,
      action: adds ? "add" : "remove",
      strength,
      everywhere: Boolean(everywhere),
      mask,
    }));
  }
  const wanted = run.concepts.findIndex(
    (one) => one.name === given.concept && (!given.layer || run.layers[one.layer].name === given.layer),
  );
  const radio = document.querySelector(`input[name=action][value="${given.action === "remove" ? "remove" : "add"}"]`);
  radio.checked = true;
  tick(Math.max(0, wanted));
}

// ---- what a person does ----

function position(event) {
  const box = at("cover").getBoundingClientRect();
  const [rows, columns] = layer().grid;
  const inside = (value, most) => Math.min(Math.max(value, 0), most - 1e-6);
  return {
    y: inside(((event.clientY - box.top) / box.height) * rows, rows),
    x: inside(((event.clientX - box.left) / box.width) * columns, columns),
  };
}

function begin(place) {
  measuring.abort();
  if (unitsInUse().length === 0) {
    say("No unit is chosen: tick one below.", { wrong: true });
    return;
  }
  stroke = { mask: new Mask(...layer().grid), last: place };
  extend(place);
}

function extend(place) {
  stroke.mask.line(stroke.last, place, Number(at("size").value));
  stroke.last = place;
  paintCover();
  draw([...view.strokes, newStroke(stroke.mask)]);
}

function end() {
  if (!stroke) return;
  const done = newStroke(stroke.mask);
  stroke = null;
  commit(done);
}

function commit(done) {
  view.strokes = [...view.strokes, done];
  view.undone = [];
  show();
}

function undo() {
  if (view.strokes.length === 0) return;
  view.undone = [...view.undone, view.strokes.at(-1)];
  view.strokes = view.strokes.slice(0, -1);
  show();
}

function redo() {
  if (view.undone.length === 0) return;
  view.strokes = [...view.strokes, view.undone.at(-1)];
  view.undone = view.undone.slice(0, -1);
  show();
}

function onKey(event) {
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  if (moves[event.key] && hasGrid()) {
    const [rows, columns] = layer().grid;
    cursor ??= { y: rows / 2, x: columns / 2 };
    const [down, right] = moves[event.key];
    cursor = {
      y: Math.min(Math.max(Math.floor(cursor.y) + 0.5 + down, 0.5), rows - 0.5),
      x: Math.min(Math.max(Math.floor(cursor.x) + 0.5 + right, 0.5), columns - 0.5),
    };
    say(`Row ${Math.ceil(cursor.y)} of ${rows}, column ${Math.ceil(cursor.x)} of ${columns}.`);
    paintCover();
  } else if ((event.key === " " || event.key === "Enter") && hasGrid()) {
    const [rows, columns] = layer().grid;
    cursor ??= { y: rows / 2, x: columns / 2 };
    begin(cursor);
    end();
  } else if (event.key === "[" || event.key === "]") {
    at("size").value = Number(at("size").value) + (event.key === "]" ? 0.5 : -0.5);
    showBrush();
    paintCover();
  } else {
    return;
  }
  event.preventDefault();
}

function listen() {
  const cover = at("cover");
  cover.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !hasGrid()) return;
    cover.setPointerCapture(event.pointerId);
    cursor = position(event);
    begin(cursor);
  });
  cover.addEventListener("pointermove", (event) => {
    if (!hasGrid()) return;
    cursor = position(event);
    if (stroke) extend(cursor);
    else paintCover();
  });
  cover.addEventListener("pointerup", end);
  cover.addEventListener("pointercancel", end);
  cover.addEventListener("pointerleave", () => {
    if (stroke) return;
    cursor = null;
    paintCover();
  });
  cover.addEventListener("keydown", onKey);
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.target.matches?.("input[type=search], input[type=number]")) return;
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    if (key === "y" || event.shiftKey) redo();
    else undo();
  });
  at("concepts").addEventListener("change", (event) => chooseConcept(Number(event.target.value)));
  for (const radio of document.querySelectorAll("input[name=action]")) {
    radio.addEventListener("change", () => {
      takeUsual();
      showUnits();
      showBrush();
      writeAddress();
    });
  }
  at("search").addEventListener("input", filterConcepts);
  at("layer").addEventListener("change", chooseLayer);
  for (const id of ["size", "strength"]) at(id).addEventListener("input", showBrush);
  for (const id of ["count", "order"]) {
    at(id).addEventListener("input", () => {
      showUnits();
      showBrush();
    });
  }
  at("everywhere").addEventListener("click", () => commit(newStroke(null)));
  at("compare").addEventListener("input", () => {
    paintPicture();
    paintCover();
  });
  at("marks").addEventListener("change", paintCover);
  at("undo").addEventListener("click", undo);
  at("redo").addEventListener("click", redo);
  at("clear").addEventListener("click", () => {
    view.undone = [...view.undone, ...view.strokes.toReversed()];
    view.strokes = [];
    show();
  });
  at("next").addEventListener("click", () => go(Math.min(Math.max(view.scene, ...seen.keys()) + 1, run.scenes - 1)));
  at("earlier").addEventListener("click", () => go(Math.max(view.scene - 1, 0)));
  at("number").addEventListener("change", () => {
    const number = Number(at("number").value);
    if (Number.isInteger(number) && number >= 0 && number < run.scenes) go(number);
    else say(`There is no scene ${at("number").value}: they go from 0 to ${run.scenes - 1}.`, { wrong: true });
  });
  at("image").addEventListener("click", () =>
    trying(async () => {
      await draw([...view.strokes]);
      const canvas = element("canvas", { ".width": drawn.after.width, ".height": drawn.after.height });
      canvas.getContext("2d").drawImage(drawn.after, 0, 0);
      canvas.toBlob((blob) => download(blob, `${run.run}-scene-${view.scene}.png`));
    }),
  );
  at("recipe").addEventListener("click", () =>
    trying(async () => {
      const recipe = await ask("api/recipe", { scene: view.scene, strokes: view.strokes });
      download(new Blob([`${JSON.stringify(recipe, null, 2)}\n`], { type: "application/json" }), `${run.run}-scene-${view.scene}.json`);
    }),
  );
  at("copy").addEventListener("click", copyAddress);
  addEventListener("hashchange", () => {
    readAddress();
    show();
  });
  addEventListener("resize", paintCover);
}

if (run) {
  document.title = `Paint with units · ${run.run}`;
  at("run").textContent = `${run.network}, run ${run.run}`;
  const [height, width] = run.image;
  at("screen").style.aspectRatio = `${width} / ${height}`;
  at("changed").hidden = !run.areas;
  at("number").max = run.scenes - 1;
  at("of-layer").hidden = run.layers.length === 1;
  at("layer").replaceChildren(...run.layers.map((one, number) => element("option", { value: number }, one.name)));
  showConcepts();
  readAddress();
  listen();
  await show();
}
