// Before the first paint: the theme that the user has chosen, or the system's,
// and the worker of the editor, which has the most to do before it can answer.
try {
  const chosen = localStorage.getItem("hubscope.theme")
  document.documentElement.dataset.theme = chosen || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")
} catch {
  document.documentElement.dataset.theme = "light"
}
try {
  window.kustoWorker = new Worker(new URL(KUSTO_WORKER, document.currentScript.src), { type: "module", name: "kusto" })
} catch {
  // The editor stays a text area.
}
