// The worker of the editor: Microsoft's language service for KQL and nothing
// else. The worker of monaco-kusto brings the service before this one too, with
// control commands and JSON, and reads everything into both: twice the time
// until the first completion.

import "./kusto-global"
import "@kusto/language-service-next/bridge.min"
import "@kusto/language-service-next/Kusto.Language.Bridge.min"
import type { Schema } from "./api"
import type { Completions, Coloured, Edit, Question, Reply } from "./kusto"

// What is used of the service. Bridge, which translates it from C#, numbers
// overloads.
interface List<T> {
  readonly Count: number
  getItem(i: number): T
}

interface Globals {
  WithCluster(cluster: object): Globals
  WithDatabase(database: object): Globals
}

interface Block {
  readonly Start: number
  readonly Length: number
  readonly Text: string
  readonly Service: {
    GetCompletionItems(at: number, options: object): {
      readonly EditStart: number
      readonly EditLength: number
      readonly Items: List<{ readonly Kind: unknown; readonly DisplayText: string; readonly MatchText: string; readonly EditText: string; readonly AfterText: string | null }>
    }
    GetClassifications(start: number, length: number): { readonly Classifications: List<{ readonly Kind: unknown; readonly Start: number; readonly Length: number }> }
    GetFormattedText(options: object): { readonly Text: string }
    IsFeatureSupported(feature: unknown, at: number): boolean
    GetQuickInfo(at: number): { readonly Items: List<{ readonly Kind: unknown; readonly Text: string }> | null } | null
  }
}

interface Script {
  readonly Text: string
  readonly Blocks: List<Block>
  WithText(text: string): Script
  GetBlockAtPosition(at: number): Block | null
}

interface FormattingOptions {
  WithIndentationSize(n: number): FormattingOptions
  WithInsertMissingTokens(yes: boolean): FormattingOptions
  WithPipeOperatorStyle(style: unknown): FormattingOptions
  WithSemicolonStyle(style: unknown): FormattingOptions
  WithBrackettingStyle(style: unknown): FormattingOptions
}

declare const Kusto: {
  Language: {
    GlobalState: { Default: Globals }
    Symbols: {
      ScalarTypes: { GetSymbol(name: string): object }
      ColumnSymbol: new (name: string, type: object, doc: string | null, original: null, source: null, examples: null) => object
      TableSymbol: { $ctor6: new (name: string, columns: object[], doc: string | null) => object }
      DatabaseSymbol: { $ctor2: new (name: string, alternate: null, members: object[]) => object }
      ClusterSymbol: { ctor: new (name: string, databases: object[]) => object }
    }
    Parsing: { QueryGrammar: { From(globals: Globals): object }; SyntaxParsers: Record<string, (...args: unknown[]) => object> }
    Editor: {
      CodeScript: { From$1(text: string, globals: Globals): Script }
      CompletionKind: Record<string, unknown>
      CompletionOptions: { Default: { WithIncludeExtendedSyntax(yes: boolean): object } }
      ClassificationKind: Record<string, unknown>
      FormattingOptions: { Default: FormattingOptions }
      PlacementStyle: { None: unknown; Smart: unknown }
      BrackettingStyle: { Diagonal: unknown }
      CodeServiceFeatures: { QuickInfo: unknown }
      QuickInfoKind: { Error: unknown; Suggestion: unknown; Warning: unknown }
    }
  }
}

const { GlobalState, Symbols, Editor, Parsing } = Kusto.Language

function array<T>(list: List<T> | null | undefined): T[] {
  return Array.from({ length: list?.Count ?? 0 }, (_, i) => (list as List<T>).getItem(i))
}

const names = (kinds: Record<string, unknown>) => new Map(Object.entries(kinds).map(([name, kind]) => [kind, name]))
const completionKinds = names(Editor.CompletionKind)
const colourKinds = names(Editor.ClassificationKind)
const options = Editor.CompletionOptions.Default.WithIncludeExtendedSyntax(false)

let globals = GlobalState.Default
let script: Script | undefined

function parse(text: string): Script {
  if (!script) script = Editor.CodeScript.From$1(text, globals)
  else if (script.Text !== text) script = script.WithText(text)
  return script
}

const answers = {
  // schema makes our tables known.
  schema(schema: Schema): void {
    const tables = schema.tables.map((t) => {
      const columns = t.columns.map((c) => new Symbols.ColumnSymbol(c.name, Symbols.ScalarTypes.GetSymbol(c.type), c.doc ?? null, null, null, null))
      return new Symbols.TableSymbol.$ctor6(t.name, columns, t.doc ?? null)
    })
    const database = new Symbols.DatabaseSymbol.$ctor2(schema.database, null, tables)
    globals = GlobalState.Default.WithCluster(new Symbols.ClusterSymbol.ctor("hubscope", [database])).WithDatabase(database)
    script = undefined
  },

  complete(text: string, at: number): Completions | undefined {
    const found = parse(text).GetBlockAtPosition(at)?.Service.GetCompletionItems(at, options)
    return (
      found && {
        start: found.EditStart,
        length: found.EditLength,
        items: array(found.Items).map((i) => ({ kind: completionKinds.get(i.Kind) ?? "", label: i.DisplayText, match: i.MatchText, text: i.EditText, after: i.AfterText ?? "" })),
      }
    )
  },

  hover(text: string, at: number): string[] {
    const service = parse(text).GetBlockAtPosition(at)?.Service
    if (!service?.IsFeatureSupported(Editor.CodeServiceFeatures.QuickInfo, at)) return []
    const { Error, Suggestion, Warning } = Editor.QuickInfoKind
    return array(service.GetQuickInfo(at)?.Items)
      .filter((i) => i.Kind !== Error && i.Kind !== Suggestion && i.Kind !== Warning)
      .map((i) => i.Text)
  },

  colour(text: string): Coloured[] {
    return array(parse(text).Blocks)
      .flatMap((b) => array(b.Service.GetClassifications(b.Start, b.Length).Classifications))
      .map((c) => ({ kind: colourKinds.get(c.Kind) ?? "", start: c.Start, length: c.Length }))
  },

  format(text: string): Edit[] {
    const { PlacementStyle, BrackettingStyle } = Editor
    const style = Editor.FormattingOptions.Default.WithIndentationSize(4)
      .WithInsertMissingTokens(false)
      .WithPipeOperatorStyle(PlacementStyle.Smart)
      .WithSemicolonStyle(PlacementStyle.None)
      .WithBrackettingStyle(BrackettingStyle.Diagonal)
    return array(parse(text).Blocks)
      .filter((b) => b.Text.trim() !== "")
      .map((b) => ({ start: b.Start, length: b.Length, text: b.Service.GetFormattedText(style).Text }))
  },
}

export type Answers = typeof answers

self.onmessage = (event: MessageEvent<Question>) => {
  const { id, ask, args } = event.data
  const reply: Reply = { id }
  try {
    reply.answer = (answers[ask] as (...args: unknown[]) => unknown)(...args)
  } catch (error) {
    reply.failed = String(error)
  }
  self.postMessage(reply)
}

// The grammar asks for the same parsers and completion items again and again,
// which never change.
for (const name of ["Token$1", "RequiredToken$1", "CreateCompletionItem$1"]) {
  const make = Parsing.SyntaxParsers[name]
  if (!make) throw new Error("the language service has no " + name)
  const made = new Map<string, object>()
  Parsing.SyntaxParsers[name] = (...args) => {
    if (args.some((x) => x !== null && typeof x === "object")) return make.apply(Parsing.SyntaxParsers, args)
    const key = args.join("\n")
    const known = made.get(key) ?? make.apply(Parsing.SyntaxParsers, args)
    made.set(key, known)
    return known
  }
}

// It takes the longest, and is made while the page still loads Monaco.
Parsing.QueryGrammar.From(globals)
