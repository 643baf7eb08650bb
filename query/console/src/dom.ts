// Elements without a framework: h makes one, with its properties, handlers
// and children.

type Child = Node | string | null | undefined | false
type Attributes = Record<string, string | number | boolean | null | undefined | ((event: never) => void)>

export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  apply(element, attributes)
  append(element, children)
  return element
}

const svgNamespace = "http://www.w3.org/2000/svg"

export function svg<K extends keyof SVGElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): SVGElementTagNameMap[K] {
  const element = document.createElementNS(svgNamespace, tag)
  apply(element, attributes)
  append(element, children)
  return element
}

// apply sets attributes; a function is the handler of the event it is named
// for, and true is an attribute without a value.
function apply(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.replace(/^on/, ""), value as EventListener)
    else if (value === true) element.setAttribute(name, "")
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value))
  }
}

function append(element: Element, children: Child[]): void {
  for (const child of children) if (child) element.append(child)
}

// find returns an element of the page that is known to be there.
export function find<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id)
  if (!element) throw new Error(`no element ${id}`)
  return element as T
}

const icons: Record<string, string> = {
  run: "M5 3.5v9l7.5-4.5z",
  stop: "M4 4h8v8H4z",
  menu: "M2 4h12M2 8h12M2 12h12",
  share: "M6.5 9.5 9.5 6.5M7 4.5 8.6 2.9a3.2 3.2 0 0 1 4.5 4.5L11.5 9M9 11.500l-1.6 1.600a3.2 3.2 0 0 1-4.5-4.500L4.5 7",
  clock: "M8 2.200a5.8 5.8 0 1 0 .01 0zM8 4.800V8l2.2 1.5",
  sun: "M8 5.200a2.8 2.8 0 1 0 .01 0zM8 1.200v1.600M8 13.200v1.600M1.2 8h1.600M13.2 8h1.600M3.2 3.200l1.1 1.100M11.7 11.700l1.1 1.100M12.8 3.200l-1.1 1.100M4.3 11.700l-1.1 1.1",
  moon: "M13.2 9.600A5.6 5.6 0 0 1 6.4 2.800a5.6 5.6 0 1 0 6.8 6.800z",
  help: "M8 2a6 6 0 1 0 .01 0zM6.3 6.300a1.7 1.7 0 1 1 2.5 1.500c-.6.3-.8.7-.8 1.200M8 11v.3",
  close: "M4 4l8 8M12 4l-8 8",
  chevron: "M6 4l4 4-4 4",
  down: "M4 6l4 4 4-4",
  up: "M4 10l4-4 4 4",
  download: "M8 2.500v7M5 6.800l3 3 3-3M3 13h10",
  copy: "M5.5 5.500h7v7h-7zM10.5 5.500v-2h-7v7h2",
  table: "M2.5 3h11v10h-11zM2.5 6.300h11M6.3 6.300V13",
  chart: "M2.5 13.500h11M4.5 11V8M8 11V4M11.5 11V6",
  plan: "M3 3.500h4v3H3zM9 9.500h4v3H9zM5 6.500V11h4",
  format: "M2.5 4h11M2.5 8h7M2.5 12h9",
  trash: "M3 4.500h10M6.5 4.500v-2h3v2M4.5 4.500l.6 9h5.800l.6-9",
  key: "M5.5 7.500a2.7 2.7 0 1 0 .01 0zM7.6 8.4 13.5 2.500M11 5l2 2",
}

// icon draws with lines of the colour of the text around it.
export function icon(name: string): SVGSVGElement {
  return svg("svg", { viewBox: "0 0 16 16", class: "icon icon-" + name, "aria-hidden": "true" }, svg("path", { d: icons[name] ?? "" }))
}

// copy puts text on the clipboard; pages on plain http off this machine have
// no other way than the old command.
export async function copy(text: string): Promise<void> {
  if (navigator.clipboard) {
    try {
      return await navigator.clipboard.writeText(text)
    } catch {
      // not allowed: the old way may be
    }
  }
  const area = h("textarea", { class: "offscreen", "aria-hidden": "true" })
  area.value = text
  const focused = document.activeElement as HTMLElement | null
  document.body.append(area)
  area.select()
  document.execCommand("copy")
  area.remove()
  focused?.focus()
}

// toast says shortly that something was done.
export function toast(text: string): void {
  const place = find("toast")
  place.textContent = text
  place.classList.add("shown")
  clearTimeout(Number(place.dataset["timer"]))
  place.dataset["timer"] = String(setTimeout(() => place.classList.remove("shown"), 2000))
}

// save gives the browser a file to store.
export function save(name: string, type: string, parts: string[]): void {
  const url = URL.createObjectURL(new Blob(parts, { type }))
  h("a", { href: url, download: name }).click()
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}
