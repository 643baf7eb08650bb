// One row of the result beside the table: every column, dynamic values as a
// tree, and filters to add to the query.

import type { Cell, Column } from "./api"
import { full, literal } from "./cells"
import { copy, h, icon, toast } from "./dom"

export interface DetailEvents {
  // filter adds a condition to the query.
  filter(condition: string): void
  step(by: number): void
}

export class Detail {
  readonly element: HTMLElement

  constructor(private readonly events: DetailEvents) {
    this.element = h("aside", { class: "detail", "aria-label": "Row", hidden: true })
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close()
    })
  }

  close(): void {
    if (this.element.hidden) return
    this.element.hidden = true
    document.querySelector<HTMLElement>(".grid")?.focus()
  }

  show(columns: Column[], row: Cell[], place: number): void {
    const object = Object.fromEntries(columns.map((c, i) => [c.name, row[i] ?? null]))
    const fields = h("dl", { class: "fields" })
    columns.forEach((column, i) => {
      const cell = row[i] ?? null
      fields.append(
        h("dt", { title: column.type }, h("span", {}, column.name), this.actions(column, cell)),
        h("dd", { class: column.type === "dynamic" ? "dynamic" : "" }, cell !== null && typeof cell === "object" ? tree(cell) : h("span", { class: kind(cell, column.type) }, cell === null ? "null" : full(cell) || "\u00a0")),
      )
    })
    this.element.replaceChildren(
      h(
        "header",
        {},
        h("h2", {}, `Row ${(place + 1).toLocaleString("en")}`),
        tool("Row above", "up", () => this.events.step(-1)),
        tool("Row below", "down", () => this.events.step(1)),
        tool("Copy as JSON", "copy", () => void copy(JSON.stringify(object, null, 2)).then(() => toast("Row copied as JSON"))),
        tool("Close (Esc)", "close", () => this.close()),
      ),
      fields,
    )
    this.element.hidden = false
  }

  private actions(column: Column, cell: Cell): HTMLElement {
    const list = h("span", { class: "actions" })
    const value = literal(cell, column.type)
    const name = /^[A-Za-z_]\w*$/.test(column.name) ? column.name : `[${JSON.stringify(column.name)}]`
    if (value !== undefined) {
      list.append(
        h("button", { type: "button", title: `Only rows with this ${column.name}`, "aria-label": `Only rows with this ${column.name}`, onclick: () => this.events.filter(`${name} == ${value}`) }, "=="),
        h("button", { type: "button", title: `No rows with this ${column.name}`, "aria-label": `No rows with this ${column.name}`, onclick: () => this.events.filter(`${name} != ${value}`) }, "!="),
      )
    }
    list.append(tool(`Copy ${column.name}`, "copy", () => void copy(full(cell)).then(() => toast(`${column.name} copied`))))
    return list
  }
}

function tool(title: string, name: string, onclick: () => void): HTMLButtonElement {
  return h("button", { type: "button", class: "tool", title, "aria-label": title, onclick }, icon(name))
}

function kind(cell: Cell, type: string): string {
  return cell === null ? "null" : typeof cell === "number" ? "json-number" : type === "bool" ? "json-word" : ""
}

// tree shows JSON with parts that open and close. Parts are made when they
// are opened, so that a big value costs only what is looked at.
export function tree(value: Cell): HTMLElement {
  if (value === null || typeof value !== "object") {
    const type = value === null || typeof value === "boolean" ? "json-word" : typeof value === "number" ? "json-number" : "json-string"
    return h("span", { class: type }, JSON.stringify(value))
  }
  const entries: [string, Cell][] = Array.isArray(value) ? value.map((v, i) => [String(i), v]) : Object.entries(value)
  const summary = Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`
  if (entries.length === 0) return h("span", { class: "json-word" }, Array.isArray(value) ? "[]" : "{}")
  const list = h("ul", { class: "json" })
  const fill = () => {
    if (list.childElementCount > 0) return
    for (const [key, item] of entries.slice(0, 1000)) list.append(h("li", {}, h("span", { class: "json-key" }, key), tree(item)))
    if (entries.length > 1000) list.append(h("li", {}, `… ${entries.length - 1000} more`))
  }
  const details = h("details", { class: "json-node" }, h("summary", {}, summary), list)
  details.addEventListener("toggle", fill)
  if (entries.length <= 20) {
    fill()
    details.open = true
  }
  return details
}
