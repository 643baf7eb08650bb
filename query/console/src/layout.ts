// What is where: the side bar, the height of the editor, the theme, and the
// way around by keyboard.

import { find, icon } from "./dom"

const narrow = matchMedia("(max-width: 760px)")

function stored(key: string): string | null {
  try {
    return localStorage.getItem("hubscope." + key)
  } catch {
    return null
  }
}

function store(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem("hubscope." + key)
    else localStorage.setItem("hubscope." + key, value)
  } catch {
    // not allowed: it lasts as long as the page
  }
}

// closeSide closes the side bar where it lies over the page.
export function closeSide(): void {
  if (narrow.matches) setSide(false)
}

function setSide(open: boolean): void {
  document.body.classList.toggle("side-open", open)
  find("menu").setAttribute("aria-expanded", String(open))
  find("side").inert = !open
}

function sideBar(): void {
  const menu = find("menu")
  menu.append(icon("menu"))
  menu.addEventListener("click", () => {
    const open = !document.body.classList.contains("side-open")
    setSide(open)
    if (!narrow.matches) store("side", open ? null : "closed")
  })
  find("shade").addEventListener("click", closeSide)
  find("side").addEventListener("keydown", (event) => {
    if (event.key === "Escape") closeSide()
  })
  const fit = () => setSide(!narrow.matches && stored("side") !== "closed")
  narrow.addEventListener("change", fit)
  fit()
}

function splitter(): void {
  const split = find("split")
  const root = document.documentElement
  const least = 88
  const set = (height: number) => {
    const h = Math.round(Math.max(least, Math.min(innerHeight - 220, height)))
    root.style.setProperty("--editor-height", h + "px")
    split.setAttribute("aria-valuenow", String(h))
    store("editor", String(h))
  }
  const height = () => find("editor").offsetHeight
  split.setAttribute("aria-valuemin", String(least))
  split.setAttribute("aria-valuenow", String(height()))
  const kept = Number(stored("editor"))
  if (kept) set(kept)
  split.addEventListener("pointerdown", (event) => {
    const [from, start] = [event.clientY, height()]
    split.setPointerCapture(event.pointerId)
    const move = (e: PointerEvent) => set(start + e.clientY - from)
    split.addEventListener("pointermove", move)
    split.addEventListener("pointerup", () => split.removeEventListener("pointermove", move), { once: true })
  })
  split.addEventListener("keydown", (event) => {
    const step = event.key === "ArrowDown" ? 20 : event.key === "ArrowUp" ? -20 : 0
    if (step === 0) return
    event.preventDefault()
    set(height() + step)
  })
}

function theme(changed: () => void): void {
  const root = document.documentElement
  const button = find("theme")
  const system = matchMedia("(prefers-color-scheme: dark)")
  const show = () => {
    const dark = root.dataset["theme"] === "dark"
    button.replaceChildren(icon(dark ? "sun" : "moon"))
    button.title = dark ? "Light colours" : "Dark colours"
    button.setAttribute("aria-label", button.title)
  }
  const set = (name: string) => {
    root.dataset["theme"] = name
    show()
    changed()
  }
  button.addEventListener("click", () => {
    const name = root.dataset["theme"] === "dark" ? "light" : "dark"
    // What the system wants needs no note: then it is followed again.
    store("theme", (name === "dark") === system.matches ? null : name)
    set(name)
  })
  system.addEventListener("change", () => {
    if (stored("theme") === null) set(system.matches ? "dark" : "light")
  })
  show()
}

// rounds lets F6 go around the parts of the page.
function rounds(): void {
  addEventListener("keydown", (event) => {
    if (event.key !== "F6") return
    event.preventDefault()
    const stops = ["#run", "#side [aria-selected=true]", "#editor textarea", ".grid", "#result-tabs [aria-selected=true]"]
      .map((s) => document.querySelector<HTMLElement>(s))
      .filter((e): e is HTMLElement => e !== null && e.offsetParent !== null && e.closest("[inert]") === null)
    const at = stops.findIndex((e) => e === document.activeElement)
    stops[(at + (event.shiftKey ? stops.length - 1 : 1) + (at < 0 && event.shiftKey ? 1 : 0)) % stops.length]?.focus()
  })
}

export function arrange(themeChanged: () => void): void {
  sideBar()
  splitter()
  theme(themeChanged)
  rounds()
}
