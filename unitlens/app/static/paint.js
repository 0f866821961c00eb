// Paint concepts into and out of a scene: strokes are masks on the layer's grid, and the server draws the scene with them.
import { Mask, address, ask, askLong, copyAddress, decoded, download, element, newestOnly, say, trying } from "./page.js";
import { showAreas } from "./areas.js";
import { finder, searched } from "./find.js";
import {
  action,
  brush,
  chooseLayer,
  chooseConcept,
  concept,
  filterConcepts,
  hasGrid,
  layer,
  newStroke,
  run,
  showBrush,
  showConcepts,
  showUnits,
  takeOrder,
  takeUsual,
  tick,
  unitsInUse,
  whenChosen,
} from "./brush.js";
import { fill, maskOf } from "./cover.js";

const at = (id) => document.getElementById(id);

/** What is shown: all of it is sent with every request, and stands in the address. */
const view = { scene: 0, strokes: [], undone: [], words: "", like: false };
/** The scene as it was drawn last. */
const drawn = { before: null, after: null, key: "" };
const seen = new Map();
let stroke = null;
let cursor = null;
/** Units by words, or by the scene before it was painted on. */
let searchedBy = "";
const search = finder(run?.search, view, brush, {
  shown: () => ({ layer: layer().name, image: String(view.scene) }),
  before: () => {},
  order: takeOrder,
  settled: () => {
    if (searchedBy === (brush.found?.key ?? "")) return;
    searchedBy = brush.found?.key ?? "";
    if (Boolean(brush.found) !== (at("order").value === "found")) takeOrder(brush.found);
    showUnits();
    showBrush();
  },
  changed: writeAddress,
});

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
    const rows = await askLong("api/areas", { scene: view.scene, strokes }, shown, { signal: stopping.signal });
    showAreas(rows, strokes, view.scene);
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
  await search.find();
  if (measured) await measure();
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
    ...searched(view),
  });
}

function readAddress() {
  const given = address.read();
  const scene = Number(given.scene ?? 0);
  search.take(given);
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
  whenChosen(() => {
    paintCover();
    writeAddress();
    search.find();
  });
  search.listen();
  readAddress();
  listen();
  await show();
}
