"use strict";
// the button that changes between light and dark, on every page
(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const name = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    name();
    try {
      localStorage.setItem("unitlens-theme", root.dataset.theme);
    } catch {
      // a browser that stores nothing for files forgets the choice
    }
  });
  name();
})();
