"use strict";
// one question after another; answers stay in this browser, and are saved as a file
(() => {
  const form = document.getElementById("questions");
  const questions = [...form.querySelectorAll(".question")];
  const [rater, done, bar, said, back, forward] = ["rater", "done", "bar", "said", "back", "forward"].map((id) => document.getElementById(id));
  const place = `unitlens-sheet-${form.dataset.sheet}`;
  const answers = new Map();
  let now = 0;

  function remembered() {
    try { return JSON.parse(localStorage.getItem(place)) || {}; } catch { return {}; }
  }

  function remember() {
    try { localStorage.setItem(place, JSON.stringify({ rater: rater.value, answers: [...answers] })); } catch { /* the file has them */ }
  }

  function show(number) {
    now = Math.min(Math.max(number, 0), questions.length - 1);
    questions.forEach((question, index) => question.classList.toggle("now", index === now));
    back.disabled = now === 0;
    forward.disabled = now === questions.length - 1;
    done.textContent = `${answers.size} of ${questions.length} answered`;
    bar.style.width = `${(100 * answers.size) / questions.length}%`;
  }

  function answer(number, choice) {
    answers.set(number, choice);
    remember();
    show(now);
  }

  form.addEventListener("change", (event) => {
    if (event.target.type === "radio") answer(Number(event.target.name.slice(1)), Number(event.target.value));
    else remember();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  back.addEventListener("click", () => show(now - 1));
  forward.addEventListener("click", () => show(now + 1));
  document.addEventListener("keydown", (event) => {
    if (event.target === rater || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      event.preventDefault();
      show(now + (event.key === "ArrowRight" ? 1 : -1));
    }
    const input = questions[now].querySelectorAll("input")[Number(event.key) - 1];
    if (input) {
      input.checked = true;
      answer(now + 1, Number(input.value));
      show(now + 1);
    }
  });

  document.getElementById("save").addEventListener("click", () => {
    const name = rater.value.trim();
    if (!name) {
      said.textContent = "Say who answers, first.";
      rater.focus();
      return;
    }
    const quoted = `"${name.replaceAll('"', '""')}"`;
    const lines = [...answers].sort((one, other) => one[0] - other[0]).map(([question, choice]) => [form.dataset.sheet, quoted, question, choice].join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([["sheet,rater,question,choice", ...lines, ""].join("\r\n")], { type: "text/csv" }));
    link.download = `answers-${form.dataset.sheet}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    said.textContent = `${lines.length} of ${questions.length} answers saved.`;
  });

  const before = remembered();
  rater.value = before.rater || "";
  for (const [number, choice] of Array.isArray(before.answers) ? before.answers : []) {
    const input = questions[number - 1]?.querySelectorAll("input")[choice - 1];
    if (input) {
      input.checked = true;
      answers.set(number, choice);
    }
  }
  const open = questions.findIndex((_, index) => !answers.has(index + 1));
  show(open < 0 ? 0 : open);
})();
