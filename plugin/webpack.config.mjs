// Builds src into dist as Grafana loads it: module.js is an AMD module whose
// externals are what Grafana shares with its plugins, so that none of them is
// in it. Taken from the scaffold of @grafana/create-plugin 7.1.7, as plain
// JavaScript, and without what this plugin has no use for.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import CopyWebpackPlugin from 'copy-webpack-plugin';
import TerserPlugin from 'terser-webpack-plugin';
import webpack from 'webpack';

const root = import.meta.dirname;
const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
const { id } = JSON.parse(readFileSync(path.join(root, 'src/plugin.json'), 'utf8'));

// The day of the build; make plugin gives that of the commit, so that two
// builds of one commit are equal.
const today = new Date(process.env.SOURCE_DATE_EPOCH ? Number(process.env.SOURCE_DATE_EPOCH) * 1000 : Date.now())
  .toISOString()
  .substring(0, 10);

const fill = (content) =>
  content.toString().replaceAll('%VERSION%', version).replaceAll('%TODAY%', today).replaceAll('%PLUGIN_ID%', id);

/** The licences of what is in module.js go with it. */
class Licenses {
  apply(compiler) {
    const name = 'Licenses';
    compiler.hooks.thisCompilation.tap(name, (compilation) => {
      const stage = webpack.Compilation.PROCESS_ASSETS_STAGE_ADDITIONAL;
      compilation.hooks.processAssets.tap({ name, stage }, () => {
        const folders = new Set();
        for (const module of compilation.modules) {
          for (const { resource } of [module, ...(module.modules ?? [])]) {
            const found = /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(resource ?? '');
            if (found) {
              folders.add(found[0]);
            }
          }
        }
        const notices = [...folders].sort().map((folder) => {
          const read = (file) => readFileSync(path.join(folder, file), 'utf8');
          const { name, version, license } = JSON.parse(read('package.json'));
          const texts = readdirSync(folder).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file));
          return [`${name} ${version} (${license})`, ...texts.map((file) => read(file).trim())].join('\n\n');
        });
        const text = notices.join(`\n\n${'-'.repeat(72)}\n\n`) + '\n';
        compilation.emitAsset('licenses.txt', new webpack.sources.RawSource(text));
      });
    });
  }
}

export default (_env, argv) => {
  const mode = argv.mode ?? 'production';
  return {
    mode,
    context: path.join(root, 'src'),
    entry: { module: './module.ts' },
    devtool: 'source-map',
    performance: false,
    stats: 'errors-warnings',
    externals: [
      'lodash',
      'moment',
      '@emotion/css',
      '@emotion/react',
      'prismjs',
      'react',
      'react/jsx-runtime',
      'react-dom',
      'rxjs',
      'i18next',
      'd3',
      /^@grafana\/(ui|runtime|data)/,
      // Microsoft's KQL language service, which Grafana ships for its own editors.
      '@kusto/monaco-kusto',
    ],
    resolve: {
      extensions: ['.ts', '.tsx', '.js', '.mjs'],
      // Grafana's own translators' tool, which plugins never load.
      alias: { 'i18next-pseudo': false },
    },
    module: {
      // All in module.js: it is small, and nothing has to know where it was loaded from.
      parser: { javascript: { dynamicImportMode: 'eager' } },
      rules: [
        {
          test: /\.tsx?$/,
          exclude: /node_modules/,
          loader: 'swc-loader',
          options: {
            jsc: {
              target: 'es2022',
              parser: { syntax: 'typescript', tsx: true },
              transform: { react: { runtime: 'automatic' } },
            },
          },
        },
      ],
    },
    optimization: { minimizer: [new TerserPlugin({ extractComments: false })] },
    output: {
      // The executables are built beside, by make plugin.
      clean: { keep: /^gpx_|\.zip$/ },
      filename: '[name].js',
      library: { type: 'amd' },
      path: path.join(root, 'dist'),
      publicPath: `public/plugins/${id}/`,
      uniqueName: id,
    },
    plugins: [
      new Licenses(),
      new CopyWebpackPlugin({
        patterns: [
          { from: 'plugin.json', transform: (content) => fill(content) },
          { from: '../README.md', transform: (content) => fill(content) },
          { from: '../CHANGELOG.md' },
          { from: '../LICENSE', toType: 'file', to: 'LICENSE' },
          { from: 'img/**/*.{svg,png}' },
          { from: 'locales/**/*.json' },
          // The dashboards have one home: the repository's dashboards folder.
          { from: '*.json', context: '../../dashboards', to: 'dashboards/', noErrorOnMissing: true },
        ],
      }),
    ],
  };
};
