// Units by any words, or by the image that is shown: how much each goes with them, as the run's encoder sees its images.

import { ask, newestOnly, trying } from "./page.js";
import { at, now, remember, view, writeAddress } from "./view.js";
import { showFirst } from "./units.js";

/** Ask how much the units of the layer go with what is searched by, unless that is known. */
export async function find() {
  const asked = { layer: view.layer, words: view.words || null, image: view.words || !view.like ? null : view.image };
  const key = JSON.stringify(asked);
  if (now.found?.key !== key) {
    now.found = null;
    if (asked.words || asked.image) {
      const answer = await trying(() => ask("api/find", asked));
      if (answer) now.found = { key, ...answer };
    }
  }
  if (!now.found && view.order === "found") view.order = "for";
  at("words").value = view.words;
  at("like").setAttribute("aria-pressed", String(view.like));
  at("found").textContent = now.found?.sentence ?? "";
  at("order").querySelector("[value=found]").hidden = !now.found;
  at("order").value = view.order;
}

const search = newestOnly(async (words, like) => {
  remember();
  Object.assign(view, { words, like, order: words || like ? "found" : "for" });
  await find();
  writeAddress();
  await showFirst();
});

export function listenToFind() {
  const { search: known } = now.run;
  at("find").hidden = !known;
  if (!known) return;
  at("like").hidden = !known.any;
  at("words").placeholder = known.any ? `any words, such as ${known.words[0]}` : known.words.join(", ");
  at("words").title = known.any ? "" : `Words of the list that named the units; unitlens open --encoder ${known.encoder} takes any words.`;
  const typed = () => {
    const words = at("words").value.trim();
    if (words !== view.words) search(words, false);
  };
  at("words").addEventListener("change", typed);
  at("words").addEventListener("search", typed);
  at("like").addEventListener("click", () => search("", !view.like));
}
