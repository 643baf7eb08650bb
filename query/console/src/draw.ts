// What all charts share: colours, numbers, the legend and the tip at the
// pointer.

import { h } from "./dom"

export interface Drawn {
  resize(): void
  destroy(): void
}

// paint is a colour or font of the page's theme.
export function paint(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim()
}

const palette = 10

// TLS versions have a meaning, and so the same colours in every chart.
const versions: Record<string, string> = { "1.0": "--tls10", "1.1": "--tls11", "1.2": "--tls12", "1.3": "--tls13" }

// versionColors are those of TLS versions, undefined for other names.
export function versionColors(names: string[]): string[] | undefined {
  const known = names.some((n) => n in versions) && names.every((n) => n in versions || n === "" || n === "(empty)")
  return known ? names.map((n) => paint(versions[n] ?? "--muted")) : undefined
}

// colorsOf gives each name a colour.
export function colorsOf(names: string[]): string[] {
  return versionColors(names) ?? names.map((_, i) => paint(`--c${i % palette}`))
}

// number writes a value on an axis or in a tip.
export function number(n: number): string {
  const size = Math.abs(n)
  if (size !== 0 && (size >= 1e15 || size < 1e-4)) return n.toExponential(2)
  if (size >= 1e6) return n.toLocaleString("en", { notation: "compact", maximumFractionDigits: 2 })
  return n.toLocaleString("en", { maximumFractionDigits: size >= 100 ? 1 : size >= 1 ? 3 : 5 })
}

// utc writes a point in time as short as the span of the axis allows.
export function utc(seconds: number, span: number): string {
  const iso = new Date(seconds * 1000).toISOString()
  if (span >= 4 * 86400) return iso.slice(5, 10)
  if (span >= 86400) return iso.slice(5, 16).replace("T", " ")
  return span >= 600 ? iso.slice(11, 16) : span > 2 ? iso.slice(11, 19) : iso.slice(11, 23)
}

// measure returns the width of texts in the font of the labels.
export function measure(): (text: string) => number {
  const context = document.createElement("canvas").getContext("2d")
  if (!context) return (text) => text.length * 7
  context.font = `11.5px ${paint("--sans")}`
  return (text) => context.measureText(text).width
}

// legend shows names with their colours; a click switches one off or on.
export function legend(names: string[], colors: string[], toggled: (place: number, shown: boolean) => void): HTMLElement {
  const list = h("div", { class: "legend", role: "group", "aria-label": "Series" })
  if (names.length < 2) list.hidden = true
  names.forEach((name, i) => {
    const swatch = h("span", { class: "swatch" })
    swatch.style.background = colors[i] ?? ""
    const button = h("button", { type: "button", "aria-pressed": "true", title: name }, swatch, h("span", {}, name))
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") !== "true"
      button.setAttribute("aria-pressed", String(shown))
      toggled(i, shown)
    })
    list.append(button)
  })
  return list
}

interface TipLine {
  name: string
  value: string
  color: string
}

const maxTipLines = 12

// tip is a small box near the pointer.
export function tip(place: HTMLElement): { show(x: number, y: number, head: string, lines: TipLine[]): void; hide(): void } {
  const box = h("div", { class: "tip", hidden: true, "aria-hidden": "true" })
  place.append(box)
  return {
    show(x, y, head, lines) {
      box.replaceChildren(h("strong", {}, head))
      for (const line of lines.slice(0, maxTipLines)) {
        const swatch = h("span", { class: "swatch" })
        swatch.style.background = line.color
        box.append(h("div", {}, swatch, h("span", { class: "name" }, line.name), h("span", { class: "value" }, line.value)))
      }
      if (lines.length > maxTipLines) box.append(h("div", { class: "more" }, `and ${lines.length - maxTipLines} more`))
      box.hidden = false
      const area = place.getBoundingClientRect()
      const left = x - area.left
      const right = left + 16 + box.offsetWidth > area.width
      box.style.left = `${Math.max(0, right ? left - box.offsetWidth - 12 : left + 16)}px`
      box.style.top = `${Math.max(0, Math.min(y - area.top - 8, area.height - box.offsetHeight))}px`
    },
    hide() {
      box.hidden = true
    },
  }
}
