// Explore a classifier: an image, its answer, the units that it rests on, and switches.

import { address, ask, askLong, copyAddress, decoded, element, newestOnly, say, trying } from "./page.js";
import { showAnswer } from "./classes.js";
import { finder } from "./find.js";
import { list, listenToGallery, markImage, shownLater } from "./gallery.js";
import { Maps } from "./masks.js";
import { listenToPicture, paintCover, paintPicture } from "./picture.js";
import { listenToUnits, showFirst, showRows, showSwitches } from "./units.js";
import { act, at, before, now, POSITIONS, remember, take, unitsAt, view, writeAddress } from "./view.js";

const layers = new Map();

// ---- what is shown ----

const load = newestOnly(async () => {
  await trying(async () => {
    const { layer: name, image } = view;
    if (!layers.has(name)) layers.set(name, await ask(`api/layer?layer=${encodeURIComponent(name)}`));
    if (now.layer !== layers.get(name)) {
      now.layer = layers.get(name);
      now.reasons = null;
    }
    await switchUnits();
    if (now.maps?.image !== image || now.maps.layer !== name) {
      now.picture = await decoded(`api/image?image=${encodeURIComponent(image)}`);
      now.maps = new Maps(name, image);
      now.reasons = null;
      now.looked = null;
      paintPicture();
      markImage();
    }
    await act.search.find();
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
  now.answer = await ask("api/switch", {
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

let explaining = null;
let explained = "";

/** Ask what the answer rests on, unless that is shown already; what was asked before is not waited for any more. */
async function explain() {
  const asked = { layer: view.layer, image: view.image, class_: view.class_ };
  const key = JSON.stringify(asked);
  if (key === explained && now.reasons) return;
  explaining?.abort();
  const stopping = new AbortController();
  explaining = stopping;
  explained = key;
  const bar = shownLater(at("explaining"));
  at("rows").classList.add("busy");
  await trying(async () => {
    const found = await askLong("api/reasons", asked, bar.show, { signal: stopping.signal });
    now.reasons = found;
    at("why").textContent = now.reasons.sentence;
    at("reasons-head").textContent = `What ${now.run.classes[now.reasons.followed]} rests on`;
    await showFirst();
  });
  if (explaining !== stopping) return;
  explaining = null;
  at("rows").classList.remove("busy");
  bar.hide();
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

async function goTo(given) {
  take(given);
  await show();
  await showRows();
}

// ---- what a person does ----

function listen() {
  listenToGallery();
  at("layer").addEventListener("change", () => {
    remember();
    Object.assign(view, { layer: at("layer").value, mask: null });
    view.switched.clear();
    show();
  });
  listenToUnits();
  act.search.listen();
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
  listenToPicture();
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || event.target.matches?.("input[type=search]")) return;
    event.preventDefault();
    undo();
  });
  addEventListener("hashchange", () => goTo(address.read()));
}

function undo() {
  const last = before();
  if (last) goTo(last);
}

Object.assign(act, { show, changed });
now.run = await trying(() => ask("api/run"));
if (now.run) {
  document.title = `Explore a network · ${now.run.run}`;
  at("run").textContent = `${now.run.network}, run ${now.run.run}`;
  const [height, width] = now.run.image;
  at("screen").style.aspectRatio = `${width} / ${height}`;
  at("layer").append(...now.run.layers.map((name) => element("option", { value: name }, name)));
  at("layers").hidden = now.run.layers.length < 2;
  const classes = now.run.image_classes ?? [];
  at("class").append(...classes.map((name) => element("option", { value: name }, name)));
  at("of-class").hidden = classes.length < 2;
  at("of-wrong").hidden = at("next-wrong").hidden = now.run.image_classes?.length === 0;
  at("size-is").textContent = at("size").value;
  act.search = finder(now.run.search, view, now, {
    shown: () => view,
    before: remember,
    order: (found) => { view.order = found ? "found" : "for"; },
    settled: () => {
      if (!now.found && view.order === "found") view.order = "for";
      at("order").value = view.order;
    },
    changed: () => {
      writeAddress();
      return showFirst();
    },
  });
  listen();
  take(address.read());
  list();
  await show();
}
