// Runs before the first paint: says that scripts run, and applies what this browser remembers.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  try {
    const kept = JSON.parse(localStorage.getItem("certctl.prefs") || "{}");
    for (const name of ["theme", "density", "sidebar"]) {
      if (kept[name]) root.dataset[name] = kept[name];
    }
  } catch {
    // Storage is closed to this page: what the server sent stands.
  }
})();
