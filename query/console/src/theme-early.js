// Before the first paint: the theme that the user has chosen, or the system's.
try {
  const chosen = localStorage.getItem("hubscope.theme")
  document.documentElement.dataset.theme = chosen || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")
} catch {
  document.documentElement.dataset.theme = "light"
}
