// What changed: the areas of concepts before and after.

import { element, percent, say } from "./page.js";
import { run } from "./brush.js";

const at = (id) => document.getElementById(id);

/** Show and say the areas of concepts, with some strokes on the scene. */
export function showAreas(rows, strokes, scene) {
  const changed = rows.filter((row) => Math.abs(row.after - row.before) >= 0.0005);
  if (strokes.length === 0) {
    const there = [...rows].sort((one, other) => other.before - one.before).slice(0, 6);
    const list = there.map((row) => `${row.concept} ${percent(row.before, 0)}`).join(", ");
    at("areas").replaceChildren(element("p", { class: "hint" }, list ? `In the scene: ${list}.` : "No known concept is in the scene."));
    say(list ? `Scene ${scene}: ${list}.` : `Scene ${scene}.`);
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
