// The classes of the answer as bars, before and after.

import { element, say } from "./page.js";
import { act, at, moved, names, now, remember, view } from "./view.js";

export function showAnswer() {
  const [before, after] = now.answer.predicted;
  const tag = (text, kind) => element("small", { class: kind }, text);
  const rows = now.answer.classes.map(({ output, name, probability: [was, is] }) => {
    const tags = [];
    if (output === after) tags.push(tag("predicted", "tag"));
    else if (output === before) tags.push(tag("before", "tag was"));
    if (output === now.answer.own) tags.push(tag("its class", "tag own"));
    const row = at("answer").querySelector(`[data-output="${output}"]`) ?? classRow(output, name);
    row.querySelector(".name").replaceChildren(name, ...tags);
    row.querySelector(".moved").textContent = moved(was, is);
    row.querySelector("i").style.setProperty("--v", 100 * is);
    row.querySelector("b").style.setProperty("--v", 100 * was);
    row.setAttribute("aria-pressed", String(output === now.answer.followed));
    row.classList.toggle("first", output === after);
    return row;
  });
  // rows that stay where they are keep the focus, and their bars move
  if (rows.some((row, k) => row !== at("answer").children[k])) at("answer").replaceChildren(...rows);
  while (at("answer").children.length > rows.length) at("answer").lastChild.remove();
  const image = names.get(view.image) ?? now.answer.name;
  const own = now.answer.class ? `, ${now.answer.class}` : "";
  let verdict = "";
  if (now.answer.own !== null && now.answer.own !== undefined) verdict = before === now.answer.own ? ": right" : ": wrong";
  at("about").replaceChildren(element("b", {}, image), `${own}${verdict}`);
  at("where").hidden = now.answer.grid.reduce((size, side) => size * side, now.answer.grid.length ? 1 : 0) < 2;
  at("mini").textContent = now.answer.sentence;
  say(now.answer.sentence);
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
    act.show();
  });
  return row;
}
