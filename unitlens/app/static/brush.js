// What is painted with: the concept, its units, and how far they go.

import { ask, element, percent, trying } from "./page.js";

const at = (id) => document.getElementById(id);

/** The run, as the server describes it. */
export const run = await trying(() => ask("api/run"));

/** What the next stroke is made with. */
export const brush = { concept: 0, left: new Set(), found: null };
/** What adding and removing are done with, until a person chooses otherwise: adding takes more units, and more of them. */
const usual = {
  add: { strength: 2, count: (units) => Math.round(0.6 * units), order: "difference" },
  remove: { strength: 1, count: () => 20, order: "iou" },
};

/** Called when something else is painted with. */
let onChoice = () => {};

export function whenChosen(call) {
  onChoice = call;
}

export const concept = () => run.concepts[brush.concept];
export const layer = () => run.layers[concept().layer];
export const action = () => document.querySelector("input[name=action]:checked").value;
export const hasGrid = () => layer().grid.length === 2;

/** How much a unit goes with what is searched by; null where nothing is, or in another layer. */
const goesWith = (unit) => (brush.found?.layer === layer().name ? brush.found.scores[unit] : null);

/** All units of the layer, those of the concept with what is known of them. */
function allUnits() {
  const known = new Map(concept().units.map((one) => [one.unit, one]));
  const nothing = { iou: null, difference: null, effect: null };
  return layer().labels.map(([name, verdict], unit) => known.get(unit) ?? { unit, ...nothing, concept: name, verdict });
}

/** The units of the concept, in the order that is chosen; what is not known of a unit comes last. */
function unitsInOrder() {
  const key = at("order").value;
  if (key === "found" && goesWith(0) !== null) {
    const found = allUnits().sort((one, other) => goesWith(other.unit) - goesWith(one.unit) || one.unit - other.unit);
    return found.slice(0, Number(at("count").value));
  }
  const worth = (one) => ((one[key] ?? null) === null ? -Infinity : key === "difference" ? Math.abs(one[key]) : one[key]);
  return [...concept().units].sort((one, other) => worth(other) - worth(one)).slice(0, Number(at("count").value));
}

export function unitsInUse() {
  return unitsInOrder().filter((one) => !brush.left.has(one.unit));
}

export function newStroke(mask) {
  return {
    concept: brush.concept,
    units: unitsInUse().map((one) => one.unit),
    action: action(),
    strength: Number(at("strength").value),
    everywhere: mask === null,
    mask: mask === null ? "" : mask.packed(),
  };
}

export function showConcepts() {
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
export function filterConcepts() {
  const wanted = at("search").value.trim().toLowerCase();
  [...at("concepts").children].forEach((label, number) => {
    const one = run.concepts[number];
    label.hidden = one.layer !== concept().layer || !one.name.toLowerCase().includes(wanted);
  });
}

export function chooseLayer() {
  const number = Number(at("layer").value);
  const name = concept().name;
  const same = run.concepts.findIndex((one) => one.layer === number && one.name === name);
  tick(same >= 0 ? same : run.concepts.findIndex((one) => one.layer === number));
}

/** Choose a concept as if a person had. */
export function tick(number) {
  const labels = [...at("concepts").children];
  labels.forEach((label, place) => {
    label.querySelector("input").checked = place === number;
  });
  chooseConcept(number);
  const [list, label] = [at("concepts"), labels[number]];
  if (label) list.scrollTop = label.offsetTop - list.offsetTop - list.clientHeight / 2;
}

export function showBrush() {
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
  const parts = [`unit ${one.unit}: ${one.concept || "no concept"} (${one.verdict})`];
  if (one.iou !== null) parts.push(`IoU ${one.iou.toFixed(3)} with ${concept().name}`);
  if (one.difference !== null) {
    const side = one.difference < 0 ? "below" : "above";
    parts.push(`${Math.abs(one.difference).toFixed(1)} standard deviations ${side} its mean where that is drawn`);
  }
  if (goesWith(one.unit) !== null) parts.push(`correlation ${goesWith(one.unit).toFixed(2)} with what is searched by`);
  if (one.effect !== null) parts.push(`causal effect ${percent(one.effect, 2)} of the image`);
  return parts.join(", ");
}

export function showUnits() {
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

/** Take units by what is searched by, or else as the action is usually done. */
export function takeOrder(found) {
  const { order } = usual[action()];
  const known = order !== "difference" || concept().typical;
  at("order").value = found ? "found" : known ? order : "iou";
}

/** Set the brush to what the action is usually done with. */
export function takeUsual() {
  const { strength, count } = usual[action()];
  const units = concept().units;
  const known = { iou: true, difference: concept().typical, effect: units.some((one) => one.effect !== null), found: true };
  for (const option of at("order").options) option.disabled = !known[option.value];
  takeOrder(brush.found);
  at("strength").max = action() === "add" && concept().typical ? 3 : 1;
  at("strength").value = strength;
  at("count").max = Math.min(units.length, 100);
  at("count").value = count(layer().units);
}

export function chooseConcept(number) {
  brush.concept = number;
  brush.left.clear();
  takeUsual();
  at("layer").value = concept().layer;
  filterConcepts();
  at("size").max = hasGrid() ? Math.max(2, Math.min(...layer().grid) / 2) : 1;
  showUnits();
  showBrush();
  onChoice();
}
