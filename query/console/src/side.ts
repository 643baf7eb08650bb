// The side bar: schema, samples, history.

import type { Schema, Table } from "./api"
import { count, duration } from "./cells"
import { find, h, icon } from "./dom"
import type { History, Past } from "./history"
import { label, read } from "./range"
import samples from "./samples.json"

export interface SideEvents {
  insert(text: string): void
  // open puts a query into the editor, and runs it if asked to.
  open(query: string, range: string | undefined, run: boolean): void
}

// tabs makes a tab list work: arrows move, a click selects.
export function tabs(list: HTMLElement, selected: (id: string) => void): (id: string) => void {
  const buttons = [...list.querySelectorAll<HTMLButtonElement>("[role=tab]")]
  const select = (id: string) => {
    for (const b of buttons) {
      const on = b.id === id
      b.setAttribute("aria-selected", String(on))
      b.tabIndex = on ? 0 : -1
      find(b.getAttribute("aria-controls") ?? "").hidden = !on
    }
    selected(id)
  }
  for (const b of buttons) b.addEventListener("click", () => select(b.id))
  list.addEventListener("keydown", (event) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement)
    if (step === 0 || at < 0) return
    const next = buttons[(at + step + buttons.length) % buttons.length]
    if (!next) return
    event.preventDefault()
    select(next.id)
    next.focus()
  })
  return select
}

// SchemaTree shows tables and their columns as a tree (WAI-ARIA's pattern).
export class SchemaTree {
  private readonly tree = h("ul", { role: "tree", class: "tree", "aria-label": "Tables" })
  private readonly filter = h("input", { type: "search", class: "filter", placeholder: "Find a table or column", "aria-label": "Find a table or column" })

  // before are the tables that were open before a text narrowed the tree.
  private before: HTMLElement[] | undefined

  constructor(
    place: HTMLElement,
    private readonly events: SideEvents,
  ) {
    place.append(this.filter, this.tree)
    this.filter.addEventListener("input", () => this.narrow(this.filter.value.trim().toLowerCase()))
    this.tree.addEventListener("keydown", (event) => this.key(event))
    this.tree.append(h("li", { class: "empty" }, "Loading the schema"))
  }

  failed(message: string): void {
    this.tree.replaceChildren(h("li", { class: "empty" }, message))
  }

  show(schema: Schema): void {
    this.tree.replaceChildren(...schema.tables.map((t, i) => this.table(t, i === 0)))
  }

  private table(table: Table, first: boolean): HTMLElement {
    const group = h("ul", { role: "group" })
    const toggle = () => item.setAttribute("aria-expanded", String(item.getAttribute("aria-expanded") !== "true"))
    const row = h(
      "div",
      { class: "tree-row table", title: table.doc },
      h("button", { type: "button", class: "twist", tabindex: -1, "aria-hidden": "true", onclick: toggle }, icon("chevron")),
      h("button", { type: "button", class: "name", tabindex: -1, onclick: () => this.events.insert(table.name), ondblclick: toggle }, icon("table"), h("span", {}, table.name)),
      h("button", { type: "button", class: "peek", tabindex: -1, title: `Show rows of ${table.name}`, "aria-label": `Show rows of ${table.name}`, onclick: () => this.events.open(`${table.name}\n| take 100`, undefined, true) }, icon("run")),
    )
    const item = h("li", { role: "treeitem", "aria-expanded": "false", tabindex: first ? 0 : -1, "data-name": table.name, "data-doc": table.doc, "aria-label": table.name }, row, h("p", { class: "doc" }, table.doc ?? ""), group)
    for (const column of table.columns) {
      const text = `${column.name}: ${column.type}${column.doc ? "\n" + column.doc : ""}`
      group.append(
        h(
          "li",
          { role: "treeitem", tabindex: -1, "data-name": column.name, "data-doc": column.doc, "aria-label": `${column.name}, ${column.type}` },
          h("button", { type: "button", class: "tree-row column", tabindex: -1, title: text, onclick: () => this.events.insert(column.name) }, h("span", { class: "column-name" }, column.name), h("span", { class: "type" }, column.type)),
        ),
      )
    }
    return item
  }

  // narrow shows what has the text in its name or description, and opens the
  // tables where that is; without a text all is as it was before.
  private narrow(text: string): void {
    const all = [...this.tree.children] as HTMLElement[]
    this.before ??= all.filter((table) => table.getAttribute("aria-expanded") === "true")
    for (const table of all) {
      const group = table.querySelector<HTMLElement>("[role=group]")
      if (!group) continue
      const has = (e: HTMLElement, doc: boolean) => (e.dataset["name"] ?? "").toLowerCase().includes(text) || (doc && (e.dataset["doc"] ?? "").toLowerCase().includes(text))
      const own = has(table, false)
      let any = false
      for (const column of group.children as Iterable<HTMLElement>) {
        const match = has(column, true)
        column.hidden = text !== "" && !match && !own
        any ||= match
      }
      table.hidden = text !== "" && !own && !any
      table.setAttribute("aria-expanded", String(text === "" ? this.before.includes(table) : any))
    }
    if (text === "") this.before = undefined
  }

  private key(event: KeyboardEvent): void {
    const at = (event.target as HTMLElement).closest<HTMLElement>("[role=treeitem]")
    if (!at) return
    const seen = [...this.tree.querySelectorAll<HTMLElement>("[role=treeitem]")].filter((e) => !e.hidden && e.offsetParent !== null)
    const place = seen.indexOf(at)
    const parent = at.parentElement?.closest<HTMLElement>("[role=treeitem]")
    const open = at.getAttribute("aria-expanded")
    const go = (to: HTMLElement | null | undefined) => {
      if (!to) return
      for (const e of seen) e.tabIndex = -1
      to.tabIndex = 0
      to.focus()
    }
    switch (event.key) {
      case "ArrowDown":
        go(seen[place + 1])
        break
      case "ArrowUp":
        go(seen[place - 1])
        break
      case "Home":
        go(seen[0])
        break
      case "End":
        go(seen.at(-1))
        break
      case "ArrowRight":
        if (open === "false") at.setAttribute("aria-expanded", "true")
        else if (open === "true") go(at.querySelector<HTMLElement>("[role=treeitem]"))
        break
      case "ArrowLeft":
        if (open === "true") at.setAttribute("aria-expanded", "false")
        else go(parent)
        break
      case "Enter":
      case " ":
        if (event.shiftKey || event.ctrlKey || event.metaKey) return
        this.events.insert(at.dataset["name"] ?? "")
        break
      default:
        return
    }
    event.preventDefault()
  }
}

export function showSamples(place: HTMLElement, events: SideEvents): void {
  for (const { group, samples: list } of samples) {
    place.append(
      h("h2", {}, group),
      h("ul", { class: "list" }, ...list.map((s) => h("li", {}, h("button", { type: "button", title: s.query, onclick: () => events.open(s.query, undefined, true) }, h("span", {}, s.title))))),
    )
  }
}

export function showHistory(place: HTMLElement, history: History, events: SideEvents): void {
  const draw = () => {
    const list = history.list()
    const one = (p: Past) =>
      h(
        "li",
        {},
        h(
          "button",
          { type: "button", title: p.query, onclick: () => events.open(p.query, p.range, false) },
          h("code", {}, p.query.split("\n").map((line) => line.trim()).join(" ").slice(0, 160)),
          h("span", { class: "meta" + (p.failed ? " failed" : "") }, `${when(p.at)} · ${p.failed ?? `${count(p.rows)} rows in ${duration(p.ms)}`} · ${label(read(p.range) ?? "query")}`),
        ),
      )
    place.replaceChildren(
      list.length === 0 ? h("p", { class: "empty" }, "The queries that you run here are kept in this browser.") : h("button", { type: "button", class: "btn small clear", onclick: () => history.clear() }, icon("trash"), "Clear history"),
      h("ul", { class: "list history" }, ...list.map(one)),
    )
  }
  history.changed = draw
  draw()
}

function when(at: number): string {
  const minutes = Math.floor((Date.now() - at) / 60_000)
  if (minutes < 1) return "now"
  if (minutes < 60) return `${minutes} min ago`
  return minutes < 1440 ? `${Math.floor(minutes / 60)} h ago` : new Date(at).toLocaleDateString("en", { day: "numeric", month: "short" })
}
