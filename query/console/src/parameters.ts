// The values of what a query declares with `declare query_parameters`: an input
// for each, between editor and result.

import { h } from "./dom"

interface Declared {
  name: string
  type: string
  // fallback is the text of its default, "" if there is none.
  fallback: string
}

const token = /\/\/.*|@"[^"\n]*"|@'[^'\n]*'|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|\w+|\s+|[^]/g

// declared reads what a query declares, as far as it is written. What is wrong
// with it is for the service to say.
export function declared(text: string): Declared[] {
  const words = (text.match(token) ?? []).filter((w) => !w.startsWith("//"))
  const dense = words.filter((w) => w.trim() !== "")
  const begin = dense.findIndex((w, i) => w === "query_parameters" && dense[i - 1] === "declare" && dense[i + 1] === "(")
  if (begin < 0) return []
  const list: Declared[] = []
  let depth = 1
  let part: "name" | "type" | "fallback" = "name"
  let one: Declared = { name: "", type: "", fallback: "" }
  for (const w of dense.slice(begin + 2)) {
    if (/^[([{]$/.test(w)) depth++
    if (/^[)\]}]$/.test(w)) depth--
    const end = depth === 0
    if (end || (depth === 1 && w === ",")) {
      if (one.name && one.type) list.push(one)
      one = { name: "", type: "", fallback: "" }
      part = "name"
      if (end) break
    } else if (part === "name" && w === ":") part = "type"
    else if (part === "type" && w === "=") part = "fallback"
    else one[part] += w
  }
  return list
}

// examples of how values of a type are written.
const examples: Record<string, string> = {
  datetime: "2026-11-23T10:00:00Z",
  date: "2026-11-23T10:00:00Z",
  timespan: "1h",
  time: "1h",
  dynamic: '["a", "b"]',
  guid: "74be27de-1e4e-49d9-b579-fe0b331d3642",
}

export class Parameters {
  private values = new Map<string, string>()
  private shown = "[]"

  // changed is called with every letter, run when Enter is pressed.
  constructor(
    private readonly form: HTMLFormElement,
    private readonly changed: () => void,
    run: () => void,
  ) {
    form.addEventListener("submit", (event) => {
      event.preventDefault()
      run()
    })
  }

  // show has an input for each parameter of the text.
  show(text: string): void {
    const list = declared(text)
    const key = JSON.stringify(list)
    if (key === this.shown) return
    this.shown = key
    this.form.hidden = list.length === 0
    this.form.replaceChildren(...list.map((d) => this.field(d)))
    // Enter in one of several inputs submits only where there is a button.
    this.form.append(h("button", { type: "submit", hidden: true }, "Run"))
  }

  // of are the values for a request with this text.
  of(text: string): { parameters?: Record<string, string> } {
    const given = declared(text).flatMap((d) => {
      const value = this.values.get(d.name) ?? ""
      return value === "" ? [] : [[d.name, value] as const]
    })
    return given.length > 0 ? { parameters: Object.fromEntries(given) } : {}
  }

  // set takes the values of a link.
  set(values: Record<string, string>): void {
    for (const [name, value] of Object.entries(values)) this.values.set(name, value)
    this.shown = ""
  }

  private field(d: Declared): HTMLElement {
    const id = "parameter-" + d.name
    const value = this.values.get(d.name) ?? ""
    const input =
      d.type === "bool" || d.type === "boolean"
        ? h("select", { id, class: "btn" }, ...["", "true", "false"].map((v) => h("option", { value: v, selected: v === value }, v || (d.fallback ? `default (${d.fallback})` : "choose"))))
        : h("input", { id, type: "text", value, placeholder: d.fallback || examples[d.type] || d.type, required: d.fallback === "", autocomplete: "off", autocapitalize: "off", spellcheck: "false" })
    input.addEventListener("input", () => {
      this.values.set(d.name, input.value)
      this.changed()
    })
    return h("div", {}, h("label", { for: id }, d.name, " ", h("span", { class: "type" }, d.type)), input)
  }
}
