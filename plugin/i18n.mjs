// Writes src/locales/en-US from the texts in the source: what t() and <Trans>
// have as default. With --check it only says what differs.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import ts from 'typescript';

const root = import.meta.dirname;
const { id } = JSON.parse(readFileSync(path.join(root, 'src/plugin.json'), 'utf8'));
const file = path.join(root, `src/locales/en-US/${id}.json`);
const texts = new Map();

function add(source, node, key, text) {
  const { line } = source.getLineAndCharacterOfPosition(node.getStart());
  const place = `${path.relative(root, source.fileName)}:${line + 1}`;
  if (key === undefined || text === undefined) {
    throw new Error(`${place}: the key and the text are to be written where they are used`);
  }
  if (texts.has(key) && texts.get(key) !== text) {
    throw new Error(`${place}: ${key} has another text elsewhere`);
  }
  texts.set(key, text);
}

const literal = (node) => (node && ts.isStringLiteralLike(node) ? node.text : undefined);

/** Text between tags as React has it: lines are joined by one space. */
const between = (text) =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean)
    .join(' ');

function visit(source, node) {
  if (ts.isCallExpression(node) && ts.isIdentifier(node.expression) && node.expression.text === 't') {
    add(source, node, literal(node.arguments[0]), literal(node.arguments[1]));
  }
  if (ts.isJsxElement(node) && node.openingElement.tagName.getText() === 'Trans') {
    const attribute = node.openingElement.attributes.properties.find((a) => a.name?.getText() === 'i18nKey');
    const plain = node.children.length === 1 && ts.isJsxText(node.children[0]);
    add(source, node, literal(attribute?.initializer), plain ? between(node.children[0].text) : undefined);
  }
  ts.forEachChild(node, (child) => visit(source, child));
}

for (const name of readdirSync(path.join(root, 'src'), { recursive: true }).sort()) {
  if (/(?<!\.test)\.tsx?$/.test(name)) {
    const full = path.join(root, 'src', name);
    const source = ts.createSourceFile(full, readFileSync(full, 'utf8'), ts.ScriptTarget.Latest, true);
    visit(source, source);
  }
}

const tree = {};
for (const key of [...texts.keys()].sort()) {
  const parts = key.split('.');
  const last = parts.pop();
  const place = parts.reduce((node, part) => (node[part] ??= {}), tree);
  place[last] = texts.get(key);
}
const wanted = JSON.stringify(tree, null, 2) + '\n';
if (!process.argv.includes('--check')) {
  writeFileSync(file, wanted);
} else if (readFileSync(file, 'utf8') !== wanted) {
  console.error(`${path.relative(root, file)} is not what the source says: run npm run i18n`);
  process.exit(1);
}
