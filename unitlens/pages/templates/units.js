"use strict";
// the units of the page: what is known of each, in columns, and its card, which is drawn here unless the page has it
window.unitlens = { ...window.unitlens, units: (() => {
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("unit-data").textContent);
  const count = data.unit.length;
  const drawn = [...find("cards").children]; // cards that are in the page
  const cards = new Map(drawn.map((card, unit) => [unit, card]));

  const layerOf = (unit) => data.layers[data.layer[unit]];
  const verdictOf = (unit) => data.verdicts[data.verdict[unit]];
  const [conceptOf, nameOf, categoryOf] = [0, 1, 2].map((part) => (unit) => data.concepts[data.concept[unit]]?.[part] ?? "");
  const idOf = (unit) => `unit-${data.slugs[data.layer[unit]]}-${data.unit[unit]}`;
  const places = new Map(data.unit.map((_, unit) => [idOf(unit), unit]));
  const placeOf = (id) => places.get(id);

  const byName = data.concepts.map((_, concept) => concept).sort((a, b) => data.concepts[a][1].localeCompare(data.concepts[b][1]));
  const ranks = new Map(byName.map((concept, rank) => [concept, rank]));
  const nameRank = (unit) => ranks.get(data.concept[unit]) ?? byName.length;

  const texts = new Map();
  function text(unit) {
    if (!texts.has(unit)) {
      const further = [
        ...data.exemplars[unit].map((image) => data.images[image]),
        ...(data.uses[unit] ?? []).map(([name]) => name),
        ...(data.said[unit] ?? []).map((name) => data.names[name]),
      ];
      const own = [layerOf(unit), `unit ${data.unit[unit]}`, nameOf(unit), categoryOf(unit), verdictOf(unit), data.names[data.second[unit]] ?? ""];
      texts.set(unit, [...own, ...further].join("\n").toLowerCase());
    }
    return texts.get(unit);
  }

  // what is known of a unit, by the names of its numbers
  function row(unit) {
    const known = { layer: layerOf(unit), unit: data.unit[unit], concept: nameOf(unit), category: categoryOf(unit), verdict: verdictOf(unit) };
    for (const name of ["iou", "low", "heldout", "chance", "q"]) known[name] = data[name][unit];
    for (const [name, values] of data.numbers) if (!(name in known)) known[name] = values[unit];
    return new Map(Object.entries(known).filter(([, value]) => value !== null && value !== ""));
  }

  // ---- a card, as the page has those of the first units

  function make(name, properties = {}, ...children) {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  }
  const small = (...children) => make("small", {}, ...children);
  const three = (value) => value.toFixed(3);

  function describe(unit) {
    const [iou, low, high, chance, heldout] = ["iou", "low", "high", "chance", "heldout"].map((name) => data[name][unit]);
    const [from, to] = [data.heldout_low[unit], data.heldout_high[unit]];
    return [
      `IoU ${three(iou)}`,
      low !== null && high !== null ? `95 % interval ${three(low)} to ${three(high)}` : "",
      chance !== null ? `chance ${three(chance)}` : "",
      heldout !== null ? `held out ${three(heldout)}${from !== null && to !== null ? ` (95 % interval ${three(from)} to ${three(to)})` : ""}` : "",
    ].filter(Boolean).join(", ");
  }

  function scale(unit) {
    const said = describe(unit);
    const element = make("span", { className: "scale", title: said });
    element.setAttribute("role", "img");
    element.setAttribute("aria-label", said);
    for (const [name, column] of Object.entries({ v: "iou", l: "low", h: "high", n: "chance", o: "heldout" })) {
      if (data[column][unit] !== null) element.style.setProperty(`--${name}`, ((100 * data[column][unit]) / data.top).toFixed(1));
    }
    const parts = { v: true, w: data.low[unit] !== null, c: data.chance[unit] !== null, o: data.heldout[unit] !== null, m: true };
    for (const [className, there] of Object.entries(parts)) if (there) element.append(make("i", { className }));
    return element;
  }

  function score(unit) {
    const verdict = verdictOf(unit);
    const mark = make("span", { className: `verdict ${verdict}` }, verdict);
    if (data.iou[unit] === null) return [make("span", { className: "why" }, data.explained[verdict]), mark];
    return [make("b", {}, three(data.iou[unit])), scale(unit), mark];
  }

  function strip(unit) {
    const count = data.exemplars[unit].length;
    const image = data.strips[unit];
    const button = make("button", { className: image ? "strip" : "strip bare", type: "button" });
    button.style.setProperty("--k", count);
    if (image) {
      const alt = `Images that activate unit ${data.unit[unit]} of ${layerOf(unit)} most: ${data.exemplars[unit].map((one) => data.images[one]).join(", ")}`;
      button.append(make("img", { loading: "lazy", decoding: "async", src: image, alt }));
    } else {
      button.append("its images are not on this page");
    }
    return button;
  }

  function labels(unit) {
    const shown = (data.labels[unit] ?? []).filter(([, , verdict, , , about]) => !about && verdict !== "no gain");
    if (!shown.length) return [];
    const said = (summary, verdict, people) => {
      const plain = ["supported", "untested"].includes(verdict);
      return summary + (plain ? "" : `, ${verdict}`) + (people && (summary || !plain) ? ", " : "") + people;
    };
    return [make("dl", { className: "labels" }, ...shown.map(([method, label, verdict, summary, , , , people]) => make(
      "div", { className: `is-${verdict.replaceAll(" ", "-")}` }, make("dt", {}, method),
      make("dd", {}, make("b", {}, data.names[label]), " ", small(said(summary, verdict, people))),
    )))];
  }

  function labelsTable(unit) {
    if (!data.labels[unit]) return [];
    const cell = (...children) => make("td", {}, ...children);
    const heads = ["by", "label", "score", "held out", "chance", "IoU", "verdict"].map((name) => make("th", {}, name));
    const rows = data.labels[unit].map(([method, label, verdict, , numbers, about, also, people]) => make(
      "tr", {}, cell(method, ...(about ? [" ", small(about)] : [])), cell(data.names[label], ...(also.length ? [" ", small(`or ${also.map((name) => data.names[name]).join(", ")}`)] : [])),
      ...numbers.map((value) => cell(value)), cell(verdict, ...(people ? [" ", small(people)] : [])),
    ));
    return [make("table", { className: "labels-table" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows))];
  }

  // between the score and what is folded away
  function remarks(unit) {
    const needed = data.needed[unit];
    const uses = (data.uses[unit] ?? []).flatMap(([name, id, logit], at) => [at ? ", " : "used for ", make("a", { href: `#${id}` }, name), ` ${logit}`]);
    return [
      ...(needed ? [make("p", { className: "needed" }, `mask of ${needed.length} concepts: ${needed.join(", ")}`,
        ...(data.together[unit] ? [" ", small(`(together ${data.together[unit]} of it)`)] : []))] : []),
      ...labels(unit),
      ...(uses.length ? [make("p", { className: "used" }, ...uses)] : []),
    ];
  }

  function draw(unit) {
    const card = find("card").content.firstElementChild.cloneNode(true);
    const part = (name) => card.querySelector(name);
    card.id = idOf(unit);
    card.classList.add(...[data.colours[categoryOf(unit)], `is-${verdictOf(unit)}`].filter(Boolean));
    if (nameOf(unit)) part("h3").append(make("a", { className: "name", href: `#${conceptOf(unit)}` }, nameOf(unit)), " ", small(categoryOf(unit)));
    else part("h3").append(make("span", { className: "name none" }, "no concept"));
    part(".where").href = `#${idOf(unit)}`;
    part(".where span").append(layerOf(unit));
    part(".where").append(` unit ${data.unit[unit]}`);
    if (data.exemplars[unit].length) part(".score").before(strip(unit));
    part(".score").append(...score(unit));
    part(".more").before(...remarks(unit));
    const second = data.names[data.second[unit]];
    const numbers = data.numbers.map(([name, values]) => [name, values[unit]]).filter(([, value]) => value);
    part("summary").append(
      ...(second ? [make("span", { className: "second" }, "runner-up ", make("b", {}, second), data.second_iou[unit] === null ? "" : ` ${three(data.second_iou[unit])}`)] : []),
      ...(data.chance[unit] === null ? [] : [make("span", {}, `chance ${three(data.chance[unit])}`)]),
      ...numbers.slice(0, 1).map(([name, value]) => make("span", {}, `${name} ${value}`)),
    );
    const also = data.also[unit]?.map((name) => data.names[name]);
    const people = data.people[unit] ? [make("p", {}, `People: ${nameOf(unit)} ${data.people[unit]}`)] : [];
    part(".numbers").before(...(also ? [make("p", {}, `Could as well be: ${also.join(", ")}`)] : []), ...people, ...labelsTable(unit));
    part(".numbers").append(...numbers.slice(1).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
    part(".names").append(...data.exemplars[unit].map((image, rank) => make("li", {}, `${data.images[image]} `, make("b", {}, data.peaks[unit][rank]))));
    return card;
  }

  function card(unit) {
    if (!cards.has(unit)) cards.set(unit, draw(unit));
    return cards.get(unit);
  }

  return { ...data, count, layerOf, verdictOf, conceptOf, nameOf, categoryOf, idOf, placeOf, nameRank, text, row, card };
})() };
