// The time range of a query: a span back from now, two points in time, or none.

import { find, h, icon } from "./dom"

// Range is a name of spans, or from and to as ISO text.
export type Range = { last: string } | { from: string; to: string } | "query"

const spans: [string, string, number][] = [
  ["15m", "Last 15 minutes", 15],
  ["30m", "Last 30 minutes", 30],
  ["1h", "Last hour", 60],
  ["4h", "Last 4 hours", 240],
  ["12h", "Last 12 hours", 720],
  ["24h", "Last 24 hours", 1440],
  ["3d", "Last 3 days", 4320],
  ["7d", "Last 7 days", 10080],
  ["14d", "Last 14 days", 20160],
  ["30d", "Last 30 days", 43200],
]

export const standard: Range = { last: "24h" }

// bounds are start and end as the API takes them.
export function bounds(range: Range, now: number): { start?: string; end?: string } {
  if (range === "query") return {}
  if ("from" in range) return { ...(range.from && { start: range.from }), ...(range.to && { end: range.to }) }
  const minutes = spans.find(([name]) => name === range.last)?.[2] ?? 1440
  return { start: new Date(now - minutes * 60_000).toISOString(), end: new Date(now).toISOString() }
}

// write and read are a range in a link: 24h, query, or from..to.
export function write(range: Range): string {
  return range === "query" ? range : "last" in range ? range.last : `${range.from}..${range.to}`
}

export function read(text: string | null): Range | undefined {
  if (text === "query") return text
  if (spans.some(([name]) => name === text)) return { last: text as string }
  const [from, to, more] = (text ?? "").split("..")
  if (from === undefined || to === undefined || more !== undefined) return undefined
  return [from, to].every((t) => t === "" || !Number.isNaN(Date.parse(t))) ? { from, to } : undefined
}

export function label(range: Range): string {
  if (range === "query") return "Set in query"
  if ("last" in range) return spans.find(([name]) => name === range.last)?.[1] ?? range.last
  const short = (t: string) => t.replace("T", " ").replace(/(:00)?(\.0+)?Z$/, "")
  return `${short(range.from) || "…"} – ${short(range.to) || "…"}`
}

// RangePicker is a button with a panel below.
export class RangePicker {
  private current: Range = standard
  private readonly button = find<HTMLButtonElement>("range")
  private readonly panel = find("range-panel")
  private readonly from = h("input", { type: "datetime-local", step: 1, id: "range-from" })
  private readonly to = h("input", { type: "datetime-local", step: 1, id: "range-to" })
  private readonly list = h("div", { class: "range-list", role: "group", "aria-label": "Time range" })

  constructor(private readonly changed: (range: Range) => void) {
    for (const [name, text] of spans) this.list.append(this.option({ last: name }, text))
    this.list.append(this.option("query", "Set in query"))
    const form = h(
      "form",
      { class: "range-form" },
      h("label", { for: "range-from" }, "From (UTC)"),
      this.from,
      h("label", { for: "range-to" }, "To (UTC)"),
      this.to,
      h("button", { type: "submit", class: "btn" }, "Use this range"),
      h("p", { class: "note" }, "Bounds TimeGenerated of every table that has it, beside what the query says."),
    )
    form.addEventListener("submit", (event) => {
      event.preventDefault()
      const iso = (input: HTMLInputElement) => (input.value ? new Date(input.value + "Z").toISOString() : "")
      const [from, to] = [iso(this.from), iso(this.to)]
      this.pick(from || to ? { from, to } : "query")
    })
    this.panel.append(this.list, form)
    this.panel.addEventListener("toggle", (event) => {
      if ((event as ToggleEvent).newState !== "open") return
      const at = this.button.getBoundingClientRect()
      this.panel.style.top = `${at.bottom + 4}px`
      this.panel.style.left = `${Math.max(8, Math.min(at.left, innerWidth - this.panel.offsetWidth - 8))}px`
      this.list.querySelector<HTMLElement>("[aria-pressed=true]")?.focus()
    })
    this.panel.addEventListener("keydown", (event) => {
      const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0
      const buttons = [...this.list.querySelectorAll("button")]
      const place = buttons.indexOf(document.activeElement as HTMLButtonElement)
      if (step === 0 || place < 0) return
      event.preventDefault()
      buttons[(place + step + buttons.length) % buttons.length]?.focus()
    })
    this.set(standard)
  }

  get value(): Range {
    return this.current
  }

  // set changes the range without telling.
  set(range: Range): void {
    this.current = range
    this.button.replaceChildren(icon("clock"), h("span", {}, label(range)), icon("down"))
    this.button.setAttribute("aria-label", `Time range: ${label(range)}`)
    for (const option of this.list.children) option.setAttribute("aria-pressed", String((option as HTMLElement).dataset["range"] === write(range)))
    if (range !== "query" && "from" in range) {
      this.from.value = range.from.slice(0, 19)
      this.to.value = range.to.slice(0, 19)
    }
  }

  private pick(range: Range): void {
    this.set(range)
    this.panel.hidePopover()
    this.changed(range)
  }

  private option(range: Range, text: string): HTMLElement {
    return h("button", { type: "button", "data-range": write(range), "aria-pressed": "false", onclick: () => this.pick(range) }, text)
  }
}
