// The table of a result. Only the rows in sight have elements, so that it is
// as quick with 100,000 rows as with ten.

import type { Cell, Column } from "./api"
import { full, isNumeric, order, shown } from "./cells"
import { copy, h, icon, toast } from "./dom"

const rowHeight = 26
const spare = 8 // rows above and below those in sight
const numberWidth = 54
const sampled = 300

interface Sort {
  column: number
  descending: boolean
}

export class Grid {
  readonly element: HTMLElement
  private readonly head: HTMLElement
  private readonly body: HTMLElement
  private readonly lines: HTMLElement[] = []
  private columns: Column[] = []
  private rows: Cell[][] = []
  private index: Uint32Array | undefined
  private sort: Sort | undefined
  private widths: number[] = []
  private measured = 0
  // The current cell; none before the table has been touched.
  private at = { row: -1, column: 0 }
  private drawing = 0

  // opened is called when the user asks for one row.
  constructor(private readonly opened: (row: Cell[], place: number) => void) {
    this.head = h("div", { role: "row", class: "grid-head", "aria-rowindex": 1 })
    this.body = h("div", { role: "rowgroup", class: "grid-body" })
    this.element = h("div", { role: "grid", class: "grid", tabindex: 0, "aria-label": "Rows of the result" }, h("div", { role: "rowgroup", class: "grid-heads" }, this.head), this.body)
    this.element.addEventListener("scroll", () => this.schedule(), { passive: true })
    this.element.addEventListener("keydown", (event) => this.key(event))
    this.element.addEventListener("focus", () => {
      if (this.at.row < 0) this.at.row = 0
      this.schedule()
    })
    this.body.addEventListener("mousedown", (event) => this.press(event))
    this.body.addEventListener("dblclick", () => this.open())
    new ResizeObserver(() => this.schedule()).observe(this.element)
  }

  // show begins a new result; its rows may come later, in the same array.
  show(columns: Column[], rows: Cell[][]): void {
    this.columns = columns
    this.rows = rows
    this.index = undefined
    this.sort = undefined
    this.measured = -1
    this.at = { row: document.activeElement === this.element ? 0 : -1, column: 0 }
    this.element.scrollTo(0, 0)
    this.grown()
  }

  // grown tells the table that rows have been added.
  grown(): void {
    if (this.measured < Math.min(this.rows.length, sampled)) this.measure()
    this.element.setAttribute("aria-rowcount", String(this.rows.length + 1))
    this.element.setAttribute("aria-colcount", String(this.columns.length + 1))
    this.body.style.height = `${this.rows.length * rowHeight}px`
    if (this.sort) this.index = order(this.rows, this.columns, this.sort.column, this.sort.descending)
    for (const line of this.lines) line.dataset["row"] = ""
    this.schedule()
  }

  // sorted are the rows in the order that is shown.
  *sorted(): Iterable<Cell[]> {
    for (let i = 0; i < this.rows.length; i++) yield this.row(i)
  }

  // line is the text of a row for the clipboard, as spreadsheets take it.
  line(row: Cell[]): string {
    return row.map((cell) => full(cell).replaceAll(/[\t\n]/g, " ")).join("\t")
  }

  private row(place: number): Cell[] {
    return this.rows[this.index ? (this.index[place] as number) : place] ?? []
  }

  private measure(): void {
    this.measured = Math.min(this.rows.length, sampled)
    const letter = letterWidth(this.body)
    this.widths = this.columns.map((column, i) => {
      let longest = 0
      for (let r = 0; r < this.measured; r++) longest = Math.max(longest, shown(this.rows[r]?.[i] ?? null, column.type).length)
      const header = (column.name.length + 1) * letter + column.type.length * 6 + 40
      return Math.round(Math.min(Math.max(longest * letter + 24, header, 64), 420))
    })
    this.heads()
  }

  private heads(): void {
    this.head.replaceChildren(h("div", { role: "columnheader", class: "grid-corner" }, h("span", { class: "unseen" }, "Row")))
    this.columns.forEach((column, i) => {
      const sorted = this.sort?.column === i
      const head = h(
        "div",
        {
          role: "columnheader",
          class: "grid-th" + (isNumeric(column.type) ? " number" : ""),
          "aria-sort": sorted ? (this.sort?.descending ? "descending" : "ascending") : "none",
          title: `${column.name}: ${column.type}. Click to sort.`,
        },
        h("button", { type: "button", tabindex: -1, onclick: () => this.sortBy(i) }, h("span", { class: "name" }, column.name), h("span", { class: "type" }, column.type), sorted && icon("down")),
        h("span", { class: "grip", onmousedown: (event: MouseEvent) => this.resize(event, i) }),
      )
      this.head.append(head)
    })
    this.layout()
  }

  private layout(): void {
    this.element.style.setProperty("--columns", `${numberWidth}px ${this.widths.map((w) => w + "px").join(" ")}`)
    this.element.style.setProperty("--width", `${this.widths.reduce((sum, w) => sum + w, numberWidth)}px`)
  }

  private resize(event: MouseEvent, i: number): void {
    event.preventDefault()
    event.stopPropagation()
    const from = event.clientX
    const width = this.widths[i] ?? 100
    const move = (e: MouseEvent) => {
      this.widths[i] = Math.max(40, width + e.clientX - from)
      this.layout()
    }
    const end = () => {
      removeEventListener("mousemove", move)
      removeEventListener("mouseup", end)
    }
    addEventListener("mousemove", move)
    addEventListener("mouseup", end)
  }

  // sortBy goes from ascending over descending to the order of the result.
  private sortBy(column: number): void {
    const again = this.sort?.column === column
    this.sort = again ? (this.sort?.descending ? undefined : { column, descending: true }) : { column, descending: false }
    this.index = undefined
    this.heads()
    this.grown()
  }

  private schedule(): void {
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0
      this.draw()
    })
  }

  private draw(): void {
    const top = this.element.scrollTop
    const first = Math.max(0, Math.floor(top / rowHeight) - spare)
    const last = Math.min(this.rows.length, Math.ceil((top + this.element.clientHeight) / rowHeight) + spare)
    // A row has the element of its place modulo their number, so that scrolling
    // by one row changes one element.
    const wanted = Math.max(this.lines.length, last - first)
    while (this.lines.length < wanted) {
      const line = h("div", { role: "row", class: "grid-row" })
      this.lines.push(line)
      this.body.append(line)
      for (const other of this.lines) other.dataset["row"] = ""
    }
    for (let place = first; place < first + this.lines.length; place++) {
      const line = this.lines[place % this.lines.length] as HTMLElement
      if (line.dataset["row"] !== String(place)) this.fill(line, place)
    }
    this.mark()
  }

  private fill(line: HTMLElement, place: number): void {
    line.dataset["row"] = String(place)
    line.hidden = place >= this.rows.length
    if (line.hidden) return
    line.style.transform = `translateY(${place * rowHeight}px)`
    line.setAttribute("aria-rowindex", String(place + 2))
    line.classList.toggle("odd", place % 2 === 1)
    while (line.children.length > this.columns.length + 1) line.lastElementChild?.remove()
    while (line.children.length < this.columns.length + 1) {
      line.append(h("div", line.children.length === 0 ? { role: "rowheader", class: "grid-number" } : { role: "gridcell" }))
    }
    const row = this.row(place)
    ;(line.children[0] as HTMLElement).textContent = String(place + 1)
    for (let i = 0; i < this.columns.length; i++) {
      const cell = line.children[i + 1] as HTMLElement
      const type = this.columns[i]?.type ?? ""
      const value = row[i] ?? null
      const text = shown(value, type)
      cell.className = "grid-td" + (isNumeric(type) ? " number" : "") + (value === null ? " null" : type === "dynamic" ? " dynamic" : "")
      cell.textContent = value === null ? "null" : text
    }
  }

  private mark(): void {
    this.body.querySelector(".current")?.classList.remove("current")
    this.body.querySelector(".current-row")?.classList.remove("current-row")
    this.element.removeAttribute("aria-activedescendant")
    const line = this.lines[this.at.row % Math.max(1, this.lines.length)]
    if (!line || line.hidden || line.dataset["row"] !== String(this.at.row)) return
    const cell = line.children[this.at.column + 1]
    line.classList.add("current-row")
    if (!cell) return
    cell.classList.add("current")
    for (const old of this.body.querySelectorAll("[id]")) old.removeAttribute("id")
    cell.id = "current-cell"
    this.element.setAttribute("aria-activedescendant", "current-cell")
  }

  private press(event: MouseEvent): void {
    const cell = (event.target as HTMLElement).closest<HTMLElement>(".grid-row > *")
    const line = cell?.parentElement
    if (!cell || !line) return
    const column = [...line.children].indexOf(cell) - 1
    this.at = { row: Number(line.dataset["row"]), column: Math.max(0, column) }
    this.mark()
    if (column < 0) this.open()
  }

  private open(): void {
    if (this.at.row >= 0 && this.at.row < this.rows.length) this.opened(this.row(this.at.row), this.at.row)
  }

  // step goes to the next row or the one before, and opens it.
  step(by: number): void {
    this.move(by, 0)
    this.open()
  }

  private move(rows: number, columns: number): void {
    this.at = {
      row: Math.max(0, Math.min(this.rows.length - 1, this.at.row + rows)),
      column: Math.max(0, Math.min(this.columns.length - 1, this.at.column + columns)),
    }
    const view = this.element
    const top = this.at.row * rowHeight
    const heads = this.head.offsetHeight
    if (top < view.scrollTop) view.scrollTop = top
    if (top + rowHeight + heads > view.scrollTop + view.clientHeight) view.scrollTop = top + rowHeight + heads - view.clientHeight
    const left = this.widths.slice(0, this.at.column).reduce((sum, w) => sum + w, 0)
    const right = left + (this.widths[this.at.column] ?? 0) + numberWidth
    if (left < view.scrollLeft) view.scrollLeft = left
    if (right > view.scrollLeft + view.clientWidth) view.scrollLeft = right - view.clientWidth
    this.draw()
  }

  private key(event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(this.element.clientHeight / rowHeight) - 2)
    const far = this.rows.length
    const control = event.ctrlKey || event.metaKey
    const moves: Record<string, () => void> = {
      ArrowDown: () => this.move(1, 0),
      ArrowUp: () => this.move(-1, 0),
      ArrowLeft: () => this.move(0, -1),
      ArrowRight: () => this.move(0, 1),
      PageDown: () => this.move(page, 0),
      PageUp: () => this.move(-page, 0),
      Home: () => this.move(control ? -far : 0, -this.columns.length),
      End: () => this.move(control ? far : 0, this.columns.length),
      Enter: () => this.open(),
      s: () => this.sortBy(this.at.column),
    }
    if (control && event.key.toLowerCase() === "c") {
      if (getSelection()?.toString()) return
      event.preventDefault()
      const row = this.row(this.at.row)
      void copy(event.shiftKey ? this.line(row) : full(row[this.at.column] ?? null)).then(() => toast(event.shiftKey ? "Row copied" : "Cell copied"))
      return
    }
    const move = moves[event.key]
    if (!move || event.altKey || (event.key === "Enter" && (event.shiftKey || control)) || (event.key === "s" && control)) return
    event.preventDefault()
    move()
  }
}

// letterWidth is the width of a letter in the table's font, in which all are
// equally wide.
function letterWidth(element: HTMLElement): number {
  const context = document.createElement("canvas").getContext("2d")
  if (!context) return 8
  context.font = getComputedStyle(element).font
  return context.measureText("0".repeat(20)).width / 20
}
