// The chart of a result: what render asks for, or what the user picks.

import type { Cell, Column, Render } from "./api"
import { h } from "./dom"
import type { Drawn } from "./draw"
import { kindOf, kinds, shape, type Kind } from "./shape"
import { drawBars, drawCard, drawPie } from "./bars"

export class Chart {
  readonly element = h("div", { class: "chart" })
  private readonly picker = h("select", { class: "btn", "aria-label": "Kind of chart" })
  private readonly logs = h("input", { type: "checkbox" })
  private readonly bar = h("div", { class: "chart-bar" })
  private readonly title = h("h2", { class: "chart-title" })
  private readonly note = h("p", { class: "note" })
  private readonly place = h("div", { class: "chart-place" })
  private result: { columns: Column[]; rows: Cell[][]; render?: Render } = { columns: [], rows: [] }
  private drawn: Drawn | undefined
  private turn = 0

  constructor() {
    for (const [kind, name] of Object.entries(kinds)) this.picker.append(h("option", { value: kind }, name))
    this.picker.addEventListener("change", () => void this.draw())
    this.logs.addEventListener("change", () => void this.draw())
    this.bar.append(this.title, h("label", {}, this.logs, " log"), this.picker)
    this.element.append(this.bar, this.place, this.note)
    let frame = 0
    new ResizeObserver(() => {
      cancelAnimationFrame(frame)
      frame = requestAnimationFrame(() => this.drawn?.resize())
    }).observe(this.place)
  }

  // show takes a result; draw must follow when the chart is in sight.
  show(columns: Column[], rows: Cell[][], render?: Render): void {
    this.result = { columns, rows, ...(render && { render }) }
    this.picker.value = this.suits(columns, render)
    this.logs.checked = render?.properties?.["yaxis"] === "log"
  }

  // suits is what render asks for, or else what the columns look like.
  private suits(columns: Column[], render?: Render): Kind {
    const asked = render && kindOf(render.visualization)
    if (asked && asked !== "table") return asked
    return columns.some((c) => c.type === "datetime") ? "timechart" : columns.length === 1 ? "card" : "columnchart"
  }

  // draw draws anew; also when the theme has changed.
  async draw(): Promise<void> {
    const turn = ++this.turn
    const kind = this.picker.value as Kind
    const { columns, rows, render } = this.result
    this.drawn?.destroy()
    this.drawn = undefined
    this.place.replaceChildren()
    this.place.dataset["kind"] = ""
    this.title.textContent = render?.properties?.["title"] ?? ""
    this.title.hidden = this.title.textContent === ""
    this.note.textContent = ""
    this.logs.disabled = kind === "piechart" || kind === "card" || kind === "stackedareachart"
    if (columns.length === 0) {
      this.place.append(h("p", { class: "empty" }, "Run a query to see its chart."))
      return
    }
    const data = shape(kind, columns, rows, render)
    if (typeof data === "string") {
      this.place.append(h("p", { class: "empty" }, data))
      return
    }
    const asked = render?.visualization
    const unknown = asked !== undefined && kindOf(asked) === undefined ? `There is no ${asked} here; this is another chart of the same rows.` : ""
    this.note.textContent = [unknown, data.cut].filter(Boolean).join(" ")
    const stacking = render?.properties?.["kind"]
    switch (kind) {
      case "piechart":
        this.drawn = drawPie(data, this.place)
        break
      case "card":
        this.drawn = drawCard(data, this.place)
        break
      case "barchart":
      case "columnchart":
        this.drawn = drawBars(kind, data, this.place, stacking === "stacked" || stacking === "stacked100" ? stacking : "unstacked", this.logs.checked)
        break
      default: {
        const { drawLines } = await import("./lines")
        if (turn !== this.turn) return
        const share = stacking === "stacked100" && (kind === "areachart" || kind === "stackedareachart")
        const stackedArea = share || (kind === "areachart" && stacking === "stacked")
        this.drawn = drawLines(stackedArea ? "stackedareachart" : kind, data, this.place, this.logs.checked && !this.logs.disabled && !stackedArea, share)
      }
    }
    // A legend that the query does not want.
    if (render?.properties?.["legend"] === "hidden") this.place.querySelector<HTMLElement>(".legend")?.setAttribute("hidden", "")
    this.place.dataset["kind"] = kind
  }
}
