// Units by any words, or by the image that is shown: how much each goes with them, as the run's encoder sees its images.

import { ask, newestOnly, trying } from "./page.js";

const at = (id) => document.getElementById(id);

/**
 * The search of a page: `find` asks again where something else is shown, `listen` takes what a person types.
 *
 * known: what the run says of its words; null where it has none, and nothing is searched.
 * view: its `words` and `like` are what is searched by.
 * now: its `found` is what the server said; null where nothing is searched by.
 * page: `shown()`, the layer and the image; `before()`, when something else is about to be searched by; `order(found)`,
 * which order that asks for; `settled()`, once it is known whether anything was found; `changed()`, after a search.
 */
export function finder(known, view, now, page) {
  async function find() {
    if (!known) return;
    const { layer, image } = page.shown();
    const asked = { layer, words: view.words || null, image: view.words || !view.like ? null : image };
    const key = JSON.stringify(asked);
    if (now.found?.key !== key) {
      now.found = null;
      if (asked.words || asked.image !== null) {
        const answer = await trying(() => ask("api/find", asked));
        if (answer) now.found = { key, layer, ...answer };
      }
    }
    at("words").value = view.words;
    at("like").setAttribute("aria-pressed", String(view.like));
    at("found").textContent = now.found?.sentence ?? "";
    at("order").querySelector("[value=found]").hidden = !now.found;
    page.settled();
  }

  const search = newestOnly(async (words, like) => {
    page.before();
    Object.assign(view, { words, like });
    page.order(Boolean(words || like));
    await find();
    await page.changed();
  });

  function listen() {
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

  /** Take what the address says. */
  function take(given) {
    view.words = known ? (given.words ?? "").slice(0, 200) : "";
    view.like = Boolean(known?.any) && !view.words && given.like === "1";
  }

  return { find, listen, take };
}

/** What the address says of a search. */
export const searched = (view) => ({ words: view.words || undefined, like: view.like ? "1" : undefined });
