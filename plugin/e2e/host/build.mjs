// Bundles the page: node build.mjs <folder with node_modules> <output folder>.
// The folder decides which @grafana packages, and which React, the page has.
import { build } from 'esbuild';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';

const here = import.meta.dirname;
const [root, out] = process.argv.slice(2).map((p) => path.resolve(p));
const shared = path.join(root, 'node_modules');

// What Grafana shares comes from the chosen folder, whoever asks for it: there
// is one React, and the editor's language service is that of its Monaco.
const fromRoot = {
  name: 'from-root',
  setup(b) {
    b.onResolve({ filter: /^[@\w]/ }, async (args) => {
      const ours = args.importer.startsWith(here) || /^monaco-editor/.test(args.path);
      if (args.pluginData === 'from-root' || args.kind === 'entry-point' || !ours || args.path.startsWith('@kusto/')) {
        return undefined;
      }
      return b.resolve(args.path, { resolveDir: root, kind: args.kind, pluginData: 'from-root' });
    });
    // Not for plugins, and so not among the exports; Grafana itself has them.
    const internal = {
      '@grafana/i18n/internal': '@grafana/i18n/dist/esm/i18n.mjs',
      '@grafana/runtime/internal/settings': '@grafana/runtime/dist/esm/services/dataSource/settings.mjs',
    };
    b.onResolve({ filter: /^@grafana\/\w+\/internal/ }, ({ path: name }) => ({ path: path.join(shared, internal[name]) }));
  },
};

const common = {
  bundle: true,
  minify: true,
  target: 'es2022',
  outdir: out,
  logLevel: 'error',
  define: { 'process.env.NODE_ENV': '"development"', 'process.env.NODE_DEBUG': '""' },
  loader: { '.ttf': 'file', '.svg': 'file', '.png': 'file' },
  plugins: [fromRoot],
};

const require = createRequire(import.meta.url);
const systemjs = path.dirname(require.resolve('systemjs/package.json'));
await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const [main] = await Promise.all([
  build({
    ...common,
    entryPoints: { main: path.join(here, 'main.tsx') },
    format: 'esm',
    splitting: true,
    jsx: 'automatic',
    metafile: true,
  }),
  build({
    ...common,
    entryPoints: {
      'kusto.worker': path.join(here, 'kusto.worker.js'),
      'editor.worker': path.join(here, 'editor.worker.js'),
    },
    format: 'iife',
    // The language service asks for a file system when it runs under Node.
    alias: { fs: path.join(here, 'empty.js') },
  }),
  cp(path.join(systemjs, 'dist/system.min.js'), path.join(out, 'system.js')),
  cp(path.join(systemjs, 'dist/extras/amd.min.js'), path.join(out, 'system-amd.js')),
  cp(path.join(shared, '@grafana/ui/dist/public/img/icons'), path.join(out, 'icons'), { recursive: true }),
]);
// Grafana has one style sheet too.
const sheets = Object.keys(main.metafile.outputs).filter((name) => name.endsWith('.css'));
const links = sheets.map((name) => `<link rel="stylesheet" href="/host/${path.basename(name)}" />`).join('\n    ');
const page = await readFile(path.join(here, 'index.html'), 'utf8');
await writeFile(path.join(out, 'index.html'), page.replace('<!-- style sheets -->', links));
