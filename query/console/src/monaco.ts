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
import { CompletionAdapter, DocumentFormatAdapter, HoverAdapter } from "@kusto/monaco-kusto/release/esm/languageFeatures"
import { KustoLanguageDefinition } from "@kusto/monaco-kusto/release/esm/languageServiceManager/kustoMonarchLanguageDefinition"
import { WorkerManager } from "@kusto/monaco-kusto/release/esm/workerManager"
import type { Func, Problem, Schema } from "./api"
import { offset, type Backend, type EditorEvents } from "./editor"

const language = "kusto"

const settings = {
  includeControlCommands: false,
  newlineAfterPipe: true,
  openSuggestionDialogAfterPreviousSuggestionAccepted: true,
  useIntellisenseV2: true,
  useSemanticColorization: true,
  useTokenColorization: true,
  enableHover: true,
  formatter: { indentationSize: 4, pipeOperatorStyle: "Smart" as const },
  completionOptions: { includeExtendedSyntax: false },
}

// client are the calls into the worker that are used here.
type Client = Awaited<ReturnType<WorkerManager["getLanguageServiceWorker"]>>

// Colours of what only the schema can tell, by the service's kinds of
// classification.
const meanings: Record<number, string> = { 7: "column", 8: "table", 11: "variable", 12: "variable" }

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

// createMonaco puts the editor into place. The worker is the language service's.
export function createMonaco(place: HTMLElement, text: string, events: EditorEvents, worker: Worker): Backend {
  // Nothing else asks Monaco for a worker: see the options of the editor.
  ;(self as unknown as { MonacoEnvironment: object }).MonacoEnvironment = { getWorker: () => worker }
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

  const change = () => ({ dispose: () => undefined })
  const manager = new WorkerManager(monaco, { languageSettings: settings, onDidChange: change, setLanguageSettings: () => undefined, setMaximumWorkerIdleTime: () => undefined, getWorkerMaxIdleTime: () => 0 } as never)
  const client = (uri: monaco.Uri): Promise<Client> => manager.getLanguageServiceWorker(uri)

  const editorWithText = {
    text: () => model.getValue(monaco.editor.EndOfLinePreference.LF),
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
      await useSchema(await client(model.uri), schema)
      registerFeatures(client, schema, functions)
      const colour = colours(editor, model, client)
      let timer = 0
      model.onDidChangeContent(() => {
        clearTimeout(timer)
        timer = setTimeout(() => void colour(), 300)
      })
      await colour()
      place.dataset["complete"] = "yes"
    },
  }
  return editorWithText
}

// useSchema tells the language service our tables.
async function useSchema(client: Client, schema: Schema): Promise<void> {
  const database = {
    name: schema.database,
    majorVersion: 1,
    minorVersion: 0,
    functions: [],
    entityGroups: [],
    tables: schema.tables.map((t) => ({
      name: t.name,
      entityType: "Table" as const,
      docstring: t.doc ?? "",
      columns: t.columns.map((c) => ({ name: c.name, type: c.type, docstring: c.doc ?? "" })),
    })),
  }
  await client.setSchema({ clusterType: "Engine", cluster: { connectionString: location.origin, databases: [database] }, database })
}

// types are written like functions: datetime(2026-01-01).
const types = new Set(["bool", "boolean", "datetime", "date", "decimal", "double", "dynamic", "guid", "int", "long", "real", "string", "time", "timespan", "uniqueid", "uuid"])

// plainText takes links and marks out of Markdown.
function plainText(markdown: string): string {
  return markdown.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[#>*_]/g, "").trim()
}

function registerFeatures(client: (uri: monaco.Uri) => Promise<Client>, schema: Schema, functions: Func[]): void {
  const columns = new Map<string, { type: string; doc: string }>()
  for (const table of schema.tables) for (const c of table.columns) if (!columns.has(c.name)) columns.set(c.name, { type: c.type, doc: c.doc ?? "" })
  const tables = new Map(schema.tables.map((t) => [t.name, t.doc ?? ""]))
  const known = new Map(functions.map((f) => [f.name, f]))
  const usage = (fn: Func) => "```\n" + fn.signatures.map((sig) => fn.name + sig).join("\n") + "\n```"
  const kinds = monaco.languages.CompletionItemKind

  // Microsoft's service knows more functions than hubscope has: those are left
  // out. What is left gets our own words, columns first. The service calls
  // columns functions and functions fields.
  const ours = (s: monaco.languages.CompletionItem): boolean => {
    const label = typeof s.label === "string" ? s.label : s.label.label
    const call = /^(\w+)\(/.exec(label)?.[1]
    const fn = known.get(call ?? label)
    const column = columns.get(label)
    const table = tables.get(label)
    let group: number
    if (s.kind === kinds.Function) {
      group = 0
      s.kind = kinds.Field
      s.detail = column?.type ?? ""
      s.documentation = column?.doc ?? ""
    } else if (s.kind === kinds.Variable) {
      group = 1
    } else if (table !== undefined && s.kind === kinds.Class) {
      group = 2
      s.kind = kinds.Struct
      s.detail = "table"
      s.documentation = table
    } else if (s.kind === kinds.Field && fn) {
      group = 4
      s.kind = kinds.Function
      s.detail = fn.group
      s.documentation = { value: usage(fn) + "\n" + (fn.doc ?? "") }
    } else if (s.kind === kinds.Field && call !== undefined && !types.has(call)) {
      return false
    } else {
      // Words are operators and the like; brackets and literals come last.
      group = /^[\w-]+$/.test(label) ? 3 : 5
      s.kind = kinds.Keyword
      // The first paragraph is enough; the rest has links that lead out.
      const text = typeof s.documentation === "object" ? s.documentation.value : ""
      s.documentation = { value: plainText(text.split(/\n\s*\n/)[0] ?? "") }
      s.detail = ""
    }
    s.sortText = group + (s.sortText ?? "")
    if (s.insertText.endsWith(" ")) s.command = { id: "editor.action.triggerSuggest", title: "Suggest" }
    return true
  }

  const adapter = new CompletionAdapter(client as never, settings)
  monaco.languages.registerCompletionItemProvider(language, {
    triggerCharacters: adapter.triggerCharacters,
    async provideCompletionItems(model, position, context, token) {
      const list = await adapter.provideCompletionItems(model, position, context, token)
      return list && { ...list, suggestions: list.suggestions.filter(ours) }
    },
  })

  const hover = new HoverAdapter(client as never)
  monaco.languages.registerHoverProvider(language, {
    async provideHover(model, position, token) {
      const word = model.getWordAtPosition(position)
      const fn = word && known.get(word.word)
      if (word && fn && model.getLineContent(position.lineNumber)[word.endColumn - 1] === "(") {
        return {
          range: new monaco.Range(position.lineNumber, word.startColumn, position.lineNumber, word.endColumn),
          contents: [{ value: usage(fn) }, { value: fn.doc ?? "" }],
        }
      }
      return hover.provideHover(model, position, token)
    },
  })
  monaco.languages.registerDocumentFormattingEditProvider(language, new DocumentFormatAdapter(client as never) as never)
}

// colours marks columns, tables and variables, which only the schema can tell.
function colours(editor: monaco.editor.IStandaloneCodeEditor, model: monaco.editor.ITextModel, client: (uri: monaco.Uri) => Promise<Client>): () => Promise<void> {
  const marks = editor.createDecorationsCollection()
  return async () => {
    const version = model.getVersionId()
    const blocks = await (await client(model.uri)).doColorization(model.uri.toString(), [])
    if (!blocks || model.isDisposed() || model.getVersionId() !== version) return
    marks.set(
      blocks
        .flatMap((b) => b.classifications)
        .filter((c) => meanings[c.kind] !== undefined)
        .map((c) => ({
          range: monaco.Range.fromPositions(model.getPositionAt(c.start), model.getPositionAt(c.start + c.length)),
          options: { inlineClassName: "kql-" + meanings[c.kind], stickiness: monaco.editor.TrackedRangeStickiness.NeverGrowsWhenTypingAtEdges },
        })),
    )
  }
}
