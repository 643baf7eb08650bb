// Modules that the bundler resolves and that bring no types of their own.

declare module "monaco-editor/esm/vs/editor/editor.api.js" {
  export * from "monaco-editor/esm/vs/editor/editor.api"
}
declare module "monaco-editor/esm/vs/editor/*"
declare module "monaco-editor/esm/vs/base/browser/ui/codicons/codiconStyles.js"
declare module "@kusto/language-service-next/bridge.min"
declare module "@kusto/language-service-next/Kusto.Language.Bridge.min"
declare module "*.css"

declare module "@kusto/monaco-kusto/release/esm/languageServiceManager/kustoMonarchLanguageDefinition" {
  import type { languages } from "monaco-editor"
  export const KustoLanguageDefinition: languages.IMonarchLanguage
}

// What each operator of KQL does, by its name; made by build.mjs.
declare module "operators" {
  const texts: Record<string, string>
  export default texts
}

// early.js makes it; the name of its file is put in by build.mjs.
interface Window {
  kustoWorker?: Worker
}
