import { css } from '@emotion/css';
import { type ComponentProps, useCallback, useEffect, useRef, useState } from 'react';
import { type GrafanaTheme2, type TimeRange } from '@grafana/data';
import { t } from '@grafana/i18n';
import { getTemplateSrv } from '@grafana/runtime';
import { CodeEditor, CodeEditorSuggestionItemKind, type Monaco, type MonacoEditor, useStyles2 } from '@grafana/ui';
import { type HubscopeDataSource } from '../datasource';
import { type HubscopeQuery, type Problem } from '../types';

interface Props {
  query: HubscopeQuery;
  onChange: (text: string) => void;
  onRunQuery: (text: string) => void;
  datasource: HubscopeDataSource;
  range?: TimeRange;
}

/** How long after the last key the text is checked. */
const CHECK_AFTER_MS = 400;

const LINE_HEIGHT = 20;
const MIN_LINES = 6;
const MAX_LINES = 24;

/** OWNER has our markers; KUSTO is who sets those of Microsoft's language service. */
const OWNER = 'hubscope';
const KUSTO = 'kusto';

/**
 * KqlEditor is Grafana's own editor for Kusto, with completion for our tables.
 * Which errors are shown is the query service's to say: Microsoft's service
 * knows neither what this engine leaves out nor dashboard variables.
 */
export function KqlEditor({ query, onChange, onRunQuery, datasource, range }: Props) {
  const styles = useStyles2(getStyles);
  const text = query.query ?? '';
  const [draft, setDraft] = useState(text);
  const [mounted, setMounted] = useState<{ editor: MonacoEditor; monaco: Monaco }>();
  const problems = useProblems({ ...query, query: draft }, datasource, range);

  // A text that came from elsewhere: an example, the builder, a filter.
  const [seen, setSeen] = useState(text);
  if (text !== seen) {
    setSeen(text);
    setDraft(text);
  }

  // What commands of the editor call, which are made once.
  const latest = useRef({ onChange, onRunQuery });
  useEffect(() => {
    latest.current = { onChange, onRunQuery };
  });

  const onMount = useCallback((editor: MonacoEditor, monaco: Monaco) => {
    editor.addAction({
      id: 'hubscope-run',
      label: t('kql-editor.run', 'Run query'),
      keybindings: [monaco.KeyMod.CtrlCmd | monaco.KeyCode.Enter, monaco.KeyMod.Shift | monaco.KeyCode.Enter],
      run: () => latest.current.onRunQuery(editor.getValue()),
    });
    setMounted({ editor, monaco });
  }, []);

  useEffect(() => {
    if (mounted) {
      void complete(mounted, datasource);
    }
  }, [mounted, datasource]);

  useEffect(() => {
    const model = mounted?.editor.getModel();
    if (!mounted || !model || problems === undefined) {
      return;
    }
    const { monaco } = mounted;
    const settle = () => {
      // The last word is the service's.
      if (monaco.editor.getModelMarkers({ owner: KUSTO, resource: model.uri }).length > 0) {
        monaco.editor.setModelMarkers(model, KUSTO, []);
      }
    };
    monaco.editor.setModelMarkers(
      model,
      OWNER,
      problems.map((problem) => ({ ...place(model.getValue(), problem), ...said(problem, monaco) }))
    );
    settle();
    const listening = monaco.editor.onDidChangeMarkers((resources) => {
      if (resources.some((uri) => uri.toString() === model.uri.toString())) {
        settle();
      }
    });
    return () => listening.dispose();
  }, [mounted, problems]);

  const lines = Math.min(MAX_LINES, Math.max(MIN_LINES, draft.split('\n').length + 1));
  return (
    <div>
      <CodeEditor
        language="kusto"
        height={lines * LINE_HEIGHT}
        width="100%"
        value={text}
        showLineNumbers
        showMiniMap={false}
        monacoOptions={{ ...OPTIONS, ariaLabel: t('kql-editor.label', 'KQL query') }}
        getSuggestions={variableSuggestions}
        onChange={setDraft}
        onBlur={(value) => value !== text && onChange(value)}
        onFocus={() => mounted && void complete(mounted, datasource)}
        onSave={onRunQuery}
        onEditorDidMount={onMount}
      />
      <div role="status" className={styles.problems}>
        {draft.trim() !== '' &&
          problems?.map((problem, i) => (
            <div key={i} className={styles.problem}>
              {problem.line
                ? t('kql-editor.problem', 'Line {{line}}, column {{column}}: {{message}}', {
                    line: problem.line,
                    column: problem.column ?? 1,
                    message: problem.message,
                    interpolation: { escapeValue: false },
                  })
                : problem.message}
              {problem.hint && <span className={styles.hint}> {problem.hint}</span>}
            </div>
          ))}
      </div>
    </div>
  );
}

const OPTIONS: ComponentProps<typeof CodeEditor>['monacoOptions'] = {
  fixedOverflowWidgets: true,
  folding: false,
  fontSize: 14,
  lineHeight: LINE_HEIGHT,
  lineNumbersMinChars: 3,
  overviewRulerLanes: 0,
  padding: { top: 4, bottom: 4 },
  renderLineHighlight: 'none',
  scrollBeyondLastLine: false,
  wordWrap: 'on',
};

/** useProblems asks the service what is wrong with a query, when typing pauses. Undefined is not known. */
function useProblems(query: HubscopeQuery, datasource: HubscopeDataSource, range?: TimeRange): Problem[] | undefined {
  const [answer, setAnswer] = useState<{ asked: string; problems?: Problem[] }>();
  const latest = useRef({ query, range });
  useEffect(() => {
    latest.current = { query, range };
  });
  const asked = query.query ?? '';
  useEffect(() => {
    let current = true;
    const check = async () => {
      try {
        const { query, range } = latest.current;
        const { errors } = asked.trim() === '' ? { errors: [] } : await datasource.validate(query, range);
        if (current) {
          setAnswer({ asked, problems: errors ?? [] });
        }
      } catch {
        // No verdict: the query itself will say why, when it is run.
        if (current) {
          setAnswer({ asked });
        }
      }
    };
    const timer = setTimeout(check, CHECK_AFTER_MS);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [asked, datasource]);
  // While one types, what was wrong is still shown.
  return answer?.problems;
}

/**
 * complete gives Microsoft's language service our schema, when an editor is made and when it is gone to: all editors of
 * the page share the service. Without it there is no completion.
 */
async function complete({ editor }: { editor: MonacoEditor }, datasource: HubscopeDataSource) {
  const model = editor.getModel();
  if (!model) {
    return;
  }
  try {
    const [{ getKustoWorker }, schema] = await Promise.all([import('@kusto/monaco-kusto'), datasource.kustoSchema()]);
    const accessor = await getKustoWorker();
    const worker = await accessor(model.uri);
    const [database] = Object.keys(schema.Databases);
    await worker.setSchemaFromShowSchema(schema, 'https://hubscope', database);
  } catch (failure) {
    console.warn('hubscope: KQL completion is not available', failure);
  }
}

/** place is where a problem is; one without a place is on the first line. */
function place(text: string, { line, column, length }: Problem) {
  const lines = text.split(/\r\n|\r|\n/);
  const row = Math.min(Math.max(line ?? 1, 1), lines.length);
  const letters = [...lines[row - 1]];
  if (!line) {
    return { startLineNumber: 1, startColumn: 1, endLineNumber: 1, endColumn: lines[0].length + 1 };
  }
  // The service counts characters, the editor UTF-16 units.
  const units = (count: number) => letters.slice(0, count).join('').length;
  const from = Math.max((column ?? 1) - 1, 0);
  const startColumn = units(from) + 1;
  const endColumn = Math.max(units(from + (length ?? 1)) + 1, startColumn + 1);
  return { startLineNumber: row, startColumn, endLineNumber: row, endColumn };
}

function said({ message, hint, code }: Problem, monaco: Monaco) {
  return { message: hint ? `${message}\n${hint}` : message, code, severity: monaco.MarkerSeverity.Error };
}

/** variableSuggestions offers the variables of the dashboard; macros are functions of the schema. */
function variableSuggestions() {
  return getTemplateSrv()
    .getVariables()
    .map(({ name, label }) => ({
      label: `$${name}`,
      kind: CodeEditorSuggestionItemKind.Property,
      detail: label || t('kql-editor.variable', 'Dashboard variable'),
    }));
}

const getStyles = (theme: GrafanaTheme2) => ({
  problems: css({ marginTop: theme.spacing(0.5), fontSize: theme.typography.bodySmall.fontSize }),
  problem: css({ color: theme.colors.error.text, overflowWrap: 'anywhere' }),
  hint: css({ color: theme.colors.text.secondary }),
});
