// Builds the console into dist: bundles src with names that carry their hash,
// and compresses every file as the service will send it.
import { build } from "esbuild"
import { createHash } from "node:crypto"
import { readFile, readdir, rm, writeFile } from "node:fs/promises"
import path from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import vm from "node:vm"
import zlib from "node:zlib"

process.chdir(path.dirname(fileURLToPath(import.meta.url)))
const out = "dist"
for (const name of await readdir(out)) if (name !== ".gitignore") await rm(path.join(out, name), { recursive: true })

// What is changed in other people's files: one line each. A file without that
// line must not go unnoticed.
const patches = [
  {
    // All style elements are made here. They get the nonce of the page's policy.
    file: "monaco-editor/esm/vs/base/browser/dom.js",
    line: "const style = document.createElement('style');",
    by: "const style = document.createElement('style'); style.nonce = document.getElementById('main-script').nonce;",
  },
  {
    // By the next frame the list may have got another content, without focus.
    file: "monaco-editor/esm/vs/editor/contrib/suggest/browser/suggestWidget.js",
    line: "this._details.widget.renderItem(this._list.getFocusedElements()[0], this._explainMode);",
    by: "if (this._list.getFocusedElements().length > 0) this._details.widget.renderItem(this._list.getFocusedElements()[0], this._explainMode);",
  },
  {
    // A third of the time that the grammar takes goes into the parameters that
    // each of 30 operators does not have but some other does, so that they can be
    // complained of. Nobody here asks Microsoft's service for complaints.
    file: "@kusto/language-service-next/Kusto.Language.Bridge.min.js",
    line: "if(allowedNames!==Kusto.Language.Parsing.AllowedNameKind.DeclaredOnly){additionalParameters=",
    by: "if(false){additionalParameters=",
  },
]
const patch = {
  name: "patch",
  setup(b) {
    b.onLoad({ filter: /(monaco-editor\/esm\/vs|language-service-next)\/.*\.js$/ }, async (args) => {
      const p = patches.find((p) => args.path.endsWith("/node_modules/" + p.file))
      if (!p) return undefined
      const parts = (await readFile(args.path, "utf8")).split(p.line)
      if (parts.length !== 2) throw new Error(`${p.file} has not the line that is to be changed: ${p.line}`)
      return { contents: parts.join(p.by), loader: "js" }
    })
  },
}

// operators has a sentence for each operator of KQL. The texts are in the older
// of Microsoft's language services, of which nothing else is used.
const operators = {
  name: "operators",
  setup(b) {
    b.onResolve({ filter: /^operators$/ }, () => ({ path: "operators", namespace: "made" }))
    b.onLoad({ filter: /.*/, namespace: "made" }, async () => {
      const context = vm.createContext({ console })
      for (const file of ["bridge.min.js", "Kusto.JavaScript.Client.min.js"]) {
        vm.runInContext(await readFile(path.join("node_modules/@kusto/language-service", file), "utf8"), context, { filename: file })
      }
      const texts = vm.runInContext(
        `const { CslDocumentation, CslCommandToken } = Kusto.Data.IntelliSense
        JSON.stringify(Object.fromEntries(Bridge.toArray(CslDocumentation.Instance.Topics)
          .filter((t) => t.TokenKind === CslCommandToken.Kind.OperatorToken && /^[a-z-]+$/.test(t.Name))
          .map((t) => [t.Name, t.ShortDescription.trim()])))`,
        context,
      )
      if (Object.keys(JSON.parse(texts)).length < 30) throw new Error("the older language service does not describe the operators")
      return { contents: texts, loader: "json" }
    })
  },
}

const common = {
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  outdir: out,
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
  loader: { ".ttf": "file", ".svg": "file" },
  plugins: [patch, operators],
}

// made returns the file that an entry point has become.
const made = (result, entry) => path.basename(Object.entries(result.metafile.outputs).find(([, o]) => o.entryPoint === entry)[0])

const worker = await build({
  ...common,
  entryPoints: ["src/kusto-worker.ts"],
  // The language service asks for a file system when it runs under Node.
  alias: { fs: "./src/empty.ts" },
})
const main = await build({
  ...common,
  entryPoints: ["src/main.ts"],
  splitting: true,
})
const early = await build({
  ...common,
  entryPoints: ["src/early.js"],
  format: "iife",
  define: { KUSTO_WORKER: JSON.stringify("./" + made(worker, "src/kusto-worker.ts")) },
})

const hash = (b) => createHash("sha256").update(b).digest("hex").slice(0, 8).toUpperCase()
const icon = await readFile("src/icon.svg")
const iconName = `icon-${hash(icon)}.svg`
await writeFile(path.join(out, iconName), icon)

// The licences of what is in the bundle go with it.
const packages = new Set()
for (const r of [worker, main]) {
  for (const input of Object.keys(r.metafile.inputs)) {
    const m = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)
    if (m) packages.add(m[1])
  }
}
const notices = []
for (const name of [...packages].sort()) {
  const dir = path.join("node_modules", name)
  const info = JSON.parse(await readFile(path.join(dir, "package.json"), "utf8"))
  const files = (await readdir(dir)).filter((f) => /^(licen[cs]e|copying|notice)/i.test(f))
  const texts = await Promise.all(files.map((f) => readFile(path.join(dir, f), "utf8")))
  notices.push(`${name} ${info.version} (${info.license ?? "see its text"})\n\n${texts.join("\n").trim()}`.trim())
}
await writeFile(path.join(out, "licenses.txt"), notices.join("\n\n" + "-".repeat(72) + "\n\n") + "\n")

let index = await readFile("src/index.html", "utf8")
const names = { MAIN: made(main, "src/main.ts"), EARLY: made(early, "src/early.js"), ICON: iconName }
for (const [key, name] of Object.entries(names)) index = index.replaceAll(`assets/${key}"`, `assets/${name}"`)
// What the page needs soon is asked for at once, not as its importers are read.
const preload = new Set()
const follow = (name) => {
  for (const i of main.metafile.outputs[name].imports) {
    const soon = i.kind === "import-statement" || main.metafile.outputs[i.path].entryPoint === "src/monaco.ts"
    if (soon && !preload.has(i.path)) {
      preload.add(i.path)
      follow(i.path)
    }
  }
}
follow(path.join(out, names.MAIN))
if (![...preload].some((name) => path.basename(name).startsWith("monaco-"))) throw new Error("Monaco is not among what is preloaded")
index = index.replace("PRELOAD", [...preload].map((name) => `<link rel="modulepreload" href="assets/${path.basename(name)}">`).join("\n"))
// The style sheet of the page has those of the parts that are loaded later too.
const sheets = Object.keys(main.metafile.outputs).filter((name) => name.endsWith(".css"))
const sheet = sheets.find((name) => path.basename(name).startsWith("main-"))
await Promise.all(sheets.filter((name) => name !== sheet).map((name) => rm(name)))
index = index.replace("assets/STYLE", "assets/" + path.basename(sheet))

const brotli = promisify(zlib.brotliCompress)
const gzip = promisify(zlib.gzip)
const sizes = { raw: 0, gzip: 0, brotli: 0 }
for (const name of await readdir(out)) {
  if (name === ".gitignore") continue
  const file = path.join(out, name)
  const b = await readFile(file)
  const [br, gz] = await Promise.all([
    brotli(b, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 11, [zlib.constants.BROTLI_PARAM_LGWIN]: 24, [zlib.constants.BROTLI_PARAM_SIZE_HINT]: b.length } }),
    gzip(b, { level: 9 }),
  ])
  await Promise.all([writeFile(file + ".br", br), writeFile(file + ".gz", gz), rm(file)])
  sizes.raw += b.length
  sizes.gzip += gz.length
  sizes.brotli += br.length
}
// Last, because it is what makes the service serve the rest.
await writeFile(path.join(out, "index.html"), index)
const kb = (n) => (n / 1024).toFixed(0) + " KiB"
console.log(`console: ${kb(sizes.raw)}, as gzip ${kb(sizes.gzip)}, as brotli ${kb(sizes.brotli)}`)
