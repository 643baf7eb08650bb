// Modules that the bundler resolves and that bring no types of their own.

declare module "monaco-editor/esm/vs/editor/editor.api.js" {
  export * from "monaco-editor/esm/vs/editor/editor.api"
}
declare module "monaco-editor/esm/vs/editor/*"
declare module "monaco-editor/esm/vs/base/browser/ui/codicons/codiconStyles.js"
declare module "@kusto/monaco-kusto/release/esm/kusto.worker"
declare module "*.css"

declare module "@kusto/monaco-kusto/release/esm/languageServiceManager/kustoMonarchLanguageDefinition" {
  import type { languages } from "monaco-editor"
  export const KustoLanguageDefinition: languages.IMonarchLanguage
}

// The name of the worker's file, put in by build.mjs.
declare const KUSTO_WORKER: string
