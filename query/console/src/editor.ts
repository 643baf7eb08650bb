// The editor. It is a text area from the first paint on, and Monaco as soon as
// that is loaded; what was typed meanwhile stays. On machines that cannot run
// Monaco it remains a text area.

import type { Func, Problem, Schema } from "./api"
import { find } from "./dom"
import { Kusto } from "./kusto"

// Backend is one of the two editors. Offsets are in UTF-16 units.
export interface Backend {
  text(): string
  setText(text: string): void
  selection(): [start: number, end: number]
  select(start: number, end: number): void
  insert(text: string): void
  focus(): void
  mark(text: string, problems: Problem[]): void
  format?(): void
  complete?(schema: Schema, functions: Func[]): Promise<void>
}

export interface EditorEvents {
  changed(): void
  moved(): void
  run(): void
}

// Part is a piece of the text that is a query of its own.
export interface Part {
  text: string
  start: number
}

export class Editor {
  private backend: Backend
  private known: { schema: Schema; functions: Func[] } | undefined
  private readonly kusto: Kusto | undefined

  constructor(private readonly events: EditorEvents) {
    this.backend = textArea(find<HTMLTextAreaElement>("text"), events)
    if (window.kustoWorker) this.kusto = new Kusto(window.kustoWorker)
  }

  // upgrade brings Monaco in. It says whether that worked.
  async upgrade(): Promise<boolean> {
    try {
      if (!this.kusto) return false
      const { createMonaco } = await import("./monaco")
      performance.mark("monaco loaded")
      const old = this.backend
      const area = find<HTMLTextAreaElement>("text")
      const focused = document.activeElement === area
      const [start, end] = old.selection()
      this.backend = createMonaco(find("editor"), old.text(), this.events, this.kusto)
      area.remove()
      performance.mark("editor made")
      this.backend.select(start, end)
      if (focused) this.backend.focus()
      this.events.changed()
      if (this.known) await this.backend.complete?.(this.known.schema, this.known.functions)
      return true
    } catch (error) {
      console.warn("the editor stays a text area:", error)
      return false
    }
  }

  get text(): string {
    return this.backend.text()
  }

  set text(text: string) {
    this.backend.setText(text)
  }

  insert(text: string): void {
    this.backend.insert(text)
    this.backend.focus()
  }

  focus(): void {
    this.backend.focus()
  }

  format(): void {
    this.backend.format?.()
  }

  mark(text: string, problems: Problem[]): void {
    if (text === this.text) this.backend.mark(text, problems)
  }

  // goto puts the cursor at a line and column of the text, from 1, in
  // characters as the service counts them.
  goto(line: number, column: number): void {
    const at = offset(this.text, line, column)
    this.backend.select(at, at)
    this.backend.focus()
  }

  async complete(schema: Schema, functions: Func[]): Promise<void> {
    this.known = { schema, functions }
    // Ahead of any question, which wait their turn.
    void this.kusto?.ask("schema", schema).then(() => performance.mark("schema known"))
    await this.backend.complete?.(schema, functions)
  }

  // cursor is the line and column of the cursor, from 1.
  cursor(): [line: number, column: number] {
    const before = this.text.slice(0, this.backend.selection()[1]).split("\n")
    return [before.length, [...(before.at(-1) ?? "")].length + 1]
  }

  // selected is the selected part, undefined without a selection.
  selected(): Part | undefined {
    const [start, end] = this.backend.selection()
    const text = this.text.slice(start, end)
    return text.trim() === "" ? undefined : { text, start }
  }

  // block is the part at the cursor.
  block(): Part | undefined {
    const cursor = this.backend.selection()[0]
    const list = blocks(this.text)
    return list.findLast((b) => b.start <= cursor) ?? list[0]
  }
}

// blocks are the parts of a text between empty lines: to Kusto's tools each
// is a query of its own.
export function blocks(text: string): Part[] {
  const list: Part[] = []
  let start = 0
  for (const piece of text.split(/(\n[ \t\r]*(?=\n))/)) {
    if (piece.trim() !== "") {
      const lead = piece.length - piece.trimStart().length
      list.push({ text: piece.trim(), start: start + lead })
    }
    start += piece.length
  }
  return list
}

// offset turns the service's line and column (characters, from 1) into an
// offset of the text.
export function offset(text: string, line: number, column: number): number {
  const lines = text.split("\n")
  let at = 0
  for (let i = 0; i < line - 1 && i < lines.length - 1; i++) at += (lines[i] ?? "").length + 1
  return at + [...(lines[line - 1] ?? "")].slice(0, column - 1).join("").length
}

// moved returns problems of a part as problems of the whole text.
export function moved(text: string, part: Part, problems: Problem[]): Problem[] {
  const before = text.slice(0, part.start).split("\n")
  const lines = before.length - 1
  const column = [...(before.at(-1) ?? "")].length
  return problems.map((p) => (p.line ? { ...p, line: p.line + lines, column: (p.column ?? 1) + (p.line === 1 ? column : 0) } : p))
}

function textArea(area: HTMLTextAreaElement, events: EditorEvents): Backend {
  area.addEventListener("input", () => events.changed())
  area.addEventListener("selectionchange", () => events.moved())
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.shiftKey || event.ctrlKey || event.metaKey)) {
      event.preventDefault()
      events.run()
    }
  })
  return {
    text: () => area.value,
    setText: (text) => {
      area.value = text
      events.changed()
    },
    selection: () => [area.selectionStart, area.selectionEnd],
    select: (start, end) => area.setSelectionRange(start, end),
    insert: (text) => {
      area.setRangeText(text, area.selectionStart, area.selectionEnd, "end")
      events.changed()
    },
    focus: () => area.focus(),
    mark: () => undefined,
  }
}
