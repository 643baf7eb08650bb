// Errors below the editor, with the line and a caret as on the command line.

import type { Problem } from "./api"
import { h, icon } from "./dom"

export function showProblems(place: HTMLElement, text: string, problems: Problem[], goto: (line: number, column: number) => void): void {
  place.hidden = problems.length === 0
  place.replaceChildren(
    ...problems.map((p) => {
      const head = h("div", { class: "head" }, h("span", { class: "code" }, `error ${p.code}`), `: ${p.message}`)
      if (!p.line) return h("div", { class: "problem" }, head, p.hint ? h("div", { class: "hint" }, p.hint) : null)
      const line = text.split("\n")[p.line - 1] ?? ""
      const letters = [...line]
      const column = p.column ?? 1
      // What stands before the place stands below it too, and takes as much room:
      // blanks for letters that are all equally wide, the letters unseen for others.
      const before = letters.slice(0, column - 1).join("")
      const plain = /^[\t -~]*$/.test(before)
      const lead = plain ? before.replaceAll(/[^\t]/g, " ") : h("span", { class: "ghost", "aria-hidden": "true" }, before)
      const width = Math.max(1, Math.min(p.length ?? 1, letters.length - column + 1))
      return h(
        "button",
        { type: "button", class: "problem", title: "Go there", onclick: () => goto(p.line ?? 1, column) },
        head,
        h("pre", {}, h("span", { class: "place" }, `${p.line} `), line, "\n", " ".repeat(String(p.line).length + 1), lead, h("span", { class: "caret" }, "^".repeat(width)), p.hint ? h("span", { class: "hint" }, " " + p.hint) : null),
      )
    }),
    problems.length > 0 && h("button", { type: "button", class: "tool dismiss", "aria-label": "Hide the errors", onclick: () => (place.hidden = true) }, icon("close")) || "",
  )
}
