// The dialogs: the token that the service wants, and help.

import { find, h, icon } from "./dom"

function open(title: string, ...content: Node[]): HTMLDialogElement {
  const dialog = find<HTMLDialogElement>("dialog")
  const close = h("button", { type: "button", class: "tool", "aria-label": "Close", onclick: () => dialog.close() }, icon("close"))
  dialog.replaceChildren(h("header", {}, h("h2", { id: "dialog-title" }, title), close), ...content)
  dialog.setAttribute("aria-labelledby", "dialog-title")
  if (!dialog.open) dialog.showModal()
  return dialog
}

// askToken asks for a bearer token; null when the user has none. It is kept by
// the caller for as long as the tab is open.
export function askToken(refused: boolean): Promise<string | null> {
  return new Promise((resolve) => {
    const input = h("input", { type: "password", id: "token-input", autocomplete: "off", required: true, spellcheck: "false" })
    const form = h(
      "form",
      { class: "token-form" },
      h("p", {}, refused ? "The query service refused that token." : "The query service wants a token. It is kept until this tab is closed."),
      h("label", { for: "token-input" }, "Token"),
      input,
      h("button", { type: "submit", class: "btn primary" }, "Use token"),
    )
    let token: string | null = null
    form.addEventListener("submit", (event) => {
      event.preventDefault()
      token = input.value.trim()
      dialog.close()
    })
    const dialog = open("Token", form)
    dialog.addEventListener("close", () => resolve(token), { once: true })
    input.focus()
  })
}

const keys: [string, string][] = [
  ["Shift+Enter, Ctrl+Enter", "Run the selection, or the query"],
  ["Esc", "Cancel the running query"],
  ["Ctrl+Space", "Complete: tables, columns, functions, operators"],
  ["Shift+Alt+F", "Format"],
  ["Ctrl+/", "Comment out"],
  ["F8", "Next error"],
  ["Ctrl+M", "Let Tab leave the editor, or not"],
  ["F6, Shift+F6", "Next or previous part of the page"],
  ["Arrows, Home, End, Page Up, Page Down", "Move in the table"],
  ["Enter", "In the table: show the row"],
  ["S", "In the table: sort by the column"],
  ["Ctrl+C, Ctrl+Shift+C", "In the table: copy the cell, or the row"],
]

export function showHelp(): void {
  open(
    "Keys",
    h("dl", { class: "keys-list" }, ...keys.map(([k, what]) => h("div", {}, h("dt", {}, ...k.split(", ").flatMap((one, i) => [i > 0 ? ", " : "", h("kbd", {}, one)])), h("dd", {}, what)))),
    h("p", { class: "note" }, "Queries separated by empty lines run one at a time, where the cursor is, unless the whole text is one query."),
    h("p", { class: "note" }, h("a", { href: "plain" }, "The page without an editor"), " · ", h("a", { href: "assets/licenses.txt" }, "Licences of its parts")),
  )
}
