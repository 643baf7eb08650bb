// Monaco with Microsoft's language service for KQL: completion, hover, format
// and colours from the service, problems only from hubscope.

import "monaco-editor/esm/vs/editor/browser/coreCommands.js"
import "monaco-editor/esm/vs/editor/browser/widget/codeEditorWidget.js"
import "monaco-editor/esm/vs/editor/contrib/bracketMatching/browser/bracketMatching.js"
import "monaco-editor/esm/vs/editor/contrib/clipboard/browser/clipboard.js"
import "monaco-editor/esm/vs/editor/contrib/comment/browser/comment.js"
import "monaco-editor/esm/vs/editor/contrib/contextmenu/browser/contextmenu.js"
import "monaco-editor/esm/vs/editor/contrib/cursorUndo/browser/cursorUndo.js"
import "monaco-editor/esm/vs/editor/contrib/find/browser/findController.js"
import "monaco-editor/esm/vs/editor/contrib/format/browser/formatActions.js"
import "monaco-editor/esm/vs/editor/contrib/gotoError/browser/gotoError.js"
import "monaco-editor/esm/vs/editor/contrib/hover/browser/hover.js"
import "monaco-editor/esm/vs/editor/contrib/linesOperations/browser/linesOperations.js"
import "monaco-editor/esm/vs/editor/contrib/multicursor/browser/multicursor.js"
import "monaco-editor/esm/vs/editor/contrib/snippet/browser/snippetController2.js"
import "monaco-editor/esm/vs/editor/contrib/suggest/browser/suggestController.js"
import "monaco-editor/esm/vs/editor/contrib/toggleTabFocusMode/browser/toggleTabFocusMode.js"
import "monaco-editor/esm/vs/editor/contrib/wordOperations/browser/wordOperations.js"
import "monaco-editor/esm/vs/base/browser/ui/codicons/codiconStyles.js"
import * as monaco from "monaco-editor/esm/vs/editor/editor.api.js"
import { KustoLanguageDefinition } from "@kusto/monaco-kusto/release/esm/languageServiceManager/kustoMonarchLanguageDefinition"
import operators from "operators"
import type { Func, Problem, Schema } from "./api"
import { offset, type Backend, type EditorEvents } from "./editor"
import type { Completion, Kusto } from "./kusto"
import { kindOf } from "./shape"

const language = "kusto"

// Colours of what only the schema can tell, by the service's kinds.
const meanings: Record<string, string> = { Column: "column", Table: "table", Parameter: "variable", Variable: "variable" }

function defineThemes(): void {
  const theme = (base: "vs" | "vs-dark", rules: Record<string, string>, colors: Record<string, string>) => ({
    base,
    inherit: true,
    rules: Object.entries(rules).map(([token, foreground]) => ({ token, foreground })),
    colors,
  })
  monaco.editor.defineTheme(
    "hubscope-light",
    theme(
      "vs",
      { "": "1f2530", comment: "6a737f", keyword: "0b5cad", "operator.sql": "0b5cad", function: "7a3e9d", "variable.predefined": "7a3e9d", string: "a33b20", number: "0a7353", type: "0f6b78", "operator.scss": "0b5cad", tag: "0b5cad", invalid: "1f2530" },
      { "editor.background": "#ffffff", "editor.lineHighlightBackground": "#f4f6f9", "editorLineNumber.foreground": "#a2aab5", "editorLineNumber.activeForeground": "#4b5563", "editorGutter.background": "#ffffff", "editor.selectionBackground": "#cfe0f7", "editorSuggestWidget.selectedBackground": "#dbe8fb", "editorSuggestWidget.selectedForeground": "#1f2530", "editorSuggestWidget.highlightForeground": "#0b5cad", "editorSuggestWidget.focusHighlightForeground": "#0b5cad", "editorWidget.background": "#ffffff", "editorWidget.border": "#d5dae1", focusBorder: "#2a6fd6" },
    ),
  )
  monaco.editor.defineTheme(
    "hubscope-dark",
    theme(
      "vs-dark",
      { "": "d7dce3", comment: "7f8996", keyword: "7ab4ff", "operator.sql": "7ab4ff", function: "d0a8ff", "variable.predefined": "d0a8ff", string: "f0a58a", number: "86d9b4", type: "7fd3dd", "operator.scss": "7ab4ff", tag: "7ab4ff", invalid: "d7dce3" },
      { "editor.background": "#12161c", "editor.lineHighlightBackground": "#191e26", "editorLineNumber.foreground": "#55606e", "editorLineNumber.activeForeground": "#a8b2bf", "editorGutter.background": "#12161c", "editor.selectionBackground": "#264a7a", "editorSuggestWidget.selectedBackground": "#24344d", "editorSuggestWidget.selectedForeground": "#e6eaf0", "editorSuggestWidget.highlightForeground": "#7ab4ff", "editorSuggestWidget.focusHighlightForeground": "#7ab4ff", "editorWidget.background": "#1a2029", "editorWidget.border": "#313a46", focusBorder: "#5b9bff" },
    ),
  )
}

function theme(): string {
  return document.documentElement.dataset["theme"] === "dark" ? "hubscope-dark" : "hubscope-light"
}

// createMonaco puts the editor into place.
export function createMonaco(place: HTMLElement, text: string, events: EditorEvents, kusto: Kusto): Backend {
  monaco.languages.register({ id: language })
  monaco.languages.setMonarchTokensProvider(language, KustoLanguageDefinition)
  monaco.languages.setLanguageConfiguration(language, {
    comments: { lineComment: "//" },
    brackets: [
      ["(", ")"],
      ["[", "]"],
      ["{", "}"],
    ],
    autoClosingPairs: [
      { open: "{", close: "}" },
      { open: "[", close: "]" },
      { open: "(", close: ")" },
      { open: "'", close: "'", notIn: ["string", "comment"] },
      { open: '"', close: '"', notIn: ["string", "comment"] },
    ],
    wordPattern: /[A-Za-z_][\w-]*|\d[\w.]*/,
  })
  defineThemes()

  const model = monaco.editor.createModel(text, language, monaco.Uri.parse("inmemory://hubscope/query.kql"))
  // The service counts in the same text.
  model.setEOL(monaco.editor.EndOfLineSequence.LF)
  const editor = monaco.editor.create(place, {
    model,
    theme: theme(),
    automaticLayout: true,
    fontSize: 13,
    lineHeight: 20,
    fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
    minimap: { enabled: false },
    scrollBeyondLastLine: false,
    lineNumbersMinChars: 3,
    lineDecorationsWidth: 8,
    glyphMargin: false,
    folding: false,
    padding: { top: 8, bottom: 8 },
    wordWrap: "on",
    wrappingIndent: "indent",
    tabSize: 4,
    fixedOverflowWidgets: true,
    ariaLabel: "KQL query. Shift+Enter runs it, Ctrl+M lets Tab leave the editor.",
    // What would ask for Monaco's own worker.
    wordBasedSuggestions: "off",
    links: false,
    colorDecorators: false,
    occurrencesHighlight: "off",
    unicodeHighlight: { ambiguousCharacters: false, invisibleCharacters: false, nonBasicASCII: false },
    overviewRulerLanes: 0,
    hideCursorInOverviewRuler: true,
    scrollbar: { verticalScrollbarSize: 10, horizontalScrollbarSize: 10, alwaysConsumeMouseWheel: false },
    suggest: { showStatusBar: false, showIcons: true, localityBonus: false, snippetsPreventQuickSuggestions: false },
    quickSuggestions: { other: true, comments: false, strings: false },
    hover: { delay: 250 },
  })
  new MutationObserver(() => monaco.editor.setTheme(theme())).observe(document.documentElement, { attributeFilter: ["data-theme"] })

  const run = { id: "hubscope.run", label: "Run query", contextMenuGroupId: "navigation", run: () => events.run() }
  editor.addAction({ ...run, keybindings: [monaco.KeyMod.Shift | monaco.KeyCode.Enter, monaco.KeyMod.CtrlCmd | monaco.KeyCode.Enter, monaco.KeyCode.F5] })
  model.onDidChangeContent(() => events.changed())
  editor.onDidChangeCursorSelection(() => events.moved())

  const editorWithText = {
    text: () => model.getValue(),
    setText(text: string) {
      editor.pushUndoStop()
      editor.executeEdits("hubscope", [{ range: model.getFullModelRange(), text }])
      editor.pushUndoStop()
      editor.setPosition(model.getPositionAt(text.length))
      editor.revealLine(1)
    },
    selection(): [number, number] {
      const s = editor.getSelection()
      return s ? [model.getOffsetAt(s.getStartPosition()), model.getOffsetAt(s.getEndPosition())] : [0, 0]
    },
    select(start: number, end: number) {
      editor.setSelection(monaco.Range.fromPositions(model.getPositionAt(start), model.getPositionAt(end)))
      editor.revealPositionInCenterIfOutsideViewport(model.getPositionAt(start))
    },
    insert(text: string) {
      const s = editor.getSelection()
      if (s) editor.executeEdits("hubscope", [{ range: s, text, forceMoveMarkers: true }])
    },
    focus: () => editor.focus(),
    format: () => void editor.getAction("editor.action.formatDocument")?.run(),
    mark(text: string, problems: Problem[]) {
      monaco.editor.setModelMarkers(
        model,
        "hubscope",
        problems
          .filter((p) => p.line)
          .map((p) => {
            const start = offset(text, p.line ?? 1, p.column ?? 1)
            const from = model.getPositionAt(start)
            const to = model.getPositionAt(start + Math.max(1, [...text.slice(start)].slice(0, p.length ?? 1).join("").length))
            return {
              severity: monaco.MarkerSeverity.Error,
              code: p.code,
              source: "hubscope",
              message: p.message + (p.hint ? `\n${p.hint}` : ""),
              startLineNumber: from.lineNumber,
              startColumn: from.column,
              endLineNumber: to.lineNumber,
              endColumn: to.lineNumber === from.lineNumber && to.column === from.column ? to.column + 1 : to.column,
            }
          }),
      )
    },
    async complete(schema: Schema, functions: Func[]) {
      registerFeatures(kusto, schema, functions)
      const colour = colours(editor, model, kusto)
      let timer = 0
      model.onDidChangeContent(() => {
        clearTimeout(timer)
        timer = setTimeout(() => void colour(), 300)
      })
      await colour()
      place.dataset["complete"] = "yes"
      performance.mark("completion ready")
    },
  }
  return editorWithText
}

// types are written like functions: datetime(2026-01-01).
const types = new Set(["bool", "boolean", "datetime", "date", "decimal", "double", "dynamic", "guid", "int", "long", "real", "string", "time", "timespan", "uniqueid", "uuid"])

// refused are operators that hubscope has not.
const refused = /^(graph-.*|make-graph|reduce|fork|facet|macro-expand|partition-by|assert-schema|execute-and-cache|inline-external-table)$/

// undrawn are charts that are drawn as others.
const undrawn = new Set(["ladderchart", "pivotchart", "timepivot"])

// plainText takes links and marks out of Markdown.
function plainText(markdown: string): string {
  return markdown.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[#>*_]/g, "").trim()
}

function registerFeatures(kusto: Kusto, schema: Schema, functions: Func[]): void {
  const columns = new Map<string, { type: string; doc: string }>()
  for (const table of schema.tables) for (const c of table.columns) if (!columns.has(c.name)) columns.set(c.name, { type: c.type, doc: c.doc ?? "" })
  const tables = new Map(schema.tables.map((t) => [t.name, t.doc ?? ""]))
  const known = new Map(functions.map((f) => [f.name, f]))
  const usage = (fn: Func) => "```\n" + fn.signatures.map((sig) => fn.name + sig).join("\n") + "\n```"
  const kinds = monaco.languages.CompletionItemKind
  const textOf = (model: monaco.editor.ITextModel) => model.getValue()

  // Microsoft's service knows more functions than hubscope has: those are left
  // out. What is left gets our own words, columns first.
  type Words = Pick<monaco.languages.CompletionItem, "kind" | "detail"> & { group: number; documentation: string }
  const ours = (c: Completion): Words | undefined => {
    const call = /^(\w+)\(/.exec(c.label)?.[1]
    const fn = known.get(call ?? c.label)
    const column = columns.get(c.label)
    const table = tables.get(c.label)
    switch (c.kind) {
      case "Column":
        return { group: 0, kind: kinds.Field, detail: column?.type ?? "", documentation: column?.doc ?? "" }
      case "Variable":
      case "Parameter":
        return { group: 1, kind: kinds.Variable, detail: "", documentation: "" }
      case "Table":
        if (table === undefined) break
        return { group: 2, kind: kinds.Struct, detail: "table", documentation: table }
      case "AggregateFunction":
      case "BuiltInFunction":
      case "LocalFunction":
      case "DatabaseFunction":
        if (fn) return { group: 4, kind: kinds.Function, detail: fn.group, documentation: usage(fn) + "\n" + (fn.doc ?? "") }
        if (c.kind === "LocalFunction") return { group: 1, kind: kinds.Function, detail: "", documentation: "" }
        if (call !== undefined && !types.has(call)) return undefined
        break
      case "QueryPrefix":
        if (refused.test(c.label)) return undefined
        break
      case "RenderChart":
        if (kindOf(c.label) === undefined || undrawn.has(c.label)) return undefined
        break
    }
    if (fn) return { group: 4, kind: kinds.Function, detail: fn.group, documentation: usage(fn) + "\n" + (fn.doc ?? "") }
    if (call !== undefined && !types.has(call)) return undefined
    // Words are operators and the like; brackets and literals come last.
    return { group: /^[\w-]+$/.test(c.label) ? 3 : 5, kind: kinds.Keyword, detail: "", documentation: c.kind === "QueryPrefix" ? plainText(operators[c.label] ?? "") : "" }
  }

  monaco.languages.registerCompletionItemProvider(language, {
    triggerCharacters: [" ", ".", "("],
    async provideCompletionItems(model, position) {
      const found = await kusto.ask("complete", textOf(model), model.getOffsetAt(position))
      if (!found || model.isDisposed()) return undefined
      const range = monaco.Range.fromPositions(model.getPositionAt(found.start), model.getPositionAt(found.start + found.length))
      const suggestions: monaco.languages.CompletionItem[] = []
      for (const [i, c] of found.items.entries()) {
        const words = ours(c)
        if (!words) continue
        // Names of one word come before those of several.
        const rank = c.label.split("_").filter((part) => part !== "").length * found.items.length + i
        suggestions.push({
          range,
          label: c.label,
          // Case does not matter to the first letter.
          filterText: c.match.charAt(0).toLowerCase() + c.match.slice(1),
          sortText: words.group + String(rank).padStart(5, "0"),
          insertText: c.after === "" ? c.text : c.text.replaceAll(/[\\$}]/g, "\\$&") + "$0" + c.after.replaceAll(/[\\$}]/g, "\\$&"),
          ...(c.after !== "" && { insertTextRules: monaco.languages.CompletionItemInsertTextRule.InsertAsSnippet }),
          kind: words.kind,
          detail: words.detail ?? "",
          documentation: { value: words.documentation },
          ...(c.text.endsWith(" ") && { command: { id: "editor.action.triggerSuggest", title: "Suggest" } }),
        })
      }
      return { suggestions }
    },
  })

  monaco.languages.registerHoverProvider(language, {
    async provideHover(model, position) {
      const word = model.getWordAtPosition(position)
      const fn = word && known.get(word.word)
      if (word && fn && model.getLineContent(position.lineNumber)[word.endColumn - 1] === "(") {
        return {
          range: new monaco.Range(position.lineNumber, word.startColumn, position.lineNumber, word.endColumn),
          contents: [{ value: usage(fn) }, { value: fn.doc ?? "" }],
        }
      }
      const texts = await kusto.ask("hover", textOf(model), model.getOffsetAt(position))
      return texts.length > 0 ? { contents: texts.map((value) => ({ value })) } : undefined
    },
  })

  monaco.languages.registerDocumentFormattingEditProvider(language, {
    async provideDocumentFormattingEdits(model) {
      const edits = await kusto.ask("format", textOf(model))
      return edits.map((e) => ({ range: monaco.Range.fromPositions(model.getPositionAt(e.start), model.getPositionAt(e.start + e.length)), text: e.text }))
    },
  })
}

// colours marks columns, tables and variables, which only the schema can tell.
function colours(editor: monaco.editor.IStandaloneCodeEditor, model: monaco.editor.ITextModel, kusto: Kusto): () => Promise<void> {
  const marks = editor.createDecorationsCollection()
  return async () => {
    const version = model.getVersionId()
    const list = await kusto.ask("colour", model.getValue())
    if (model.isDisposed() || model.getVersionId() !== version) return
    marks.set(
      list
        .filter((c) => meanings[c.kind] !== undefined)
        .map((c) => ({
          range: monaco.Range.fromPositions(model.getPositionAt(c.start), model.getPositionAt(c.start + c.length)),
          options: { inlineClassName: "kql-" + meanings[c.kind], stickiness: monaco.editor.TrackedRangeStickiness.NeverGrowsWhenTypingAtEdges },
        })),
    )
  }
}
