import { act, render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { useState } from 'react';
import { CoreApp, createDataFrame, LoadingState, type PanelData } from '@grafana/data';
import { setSchemaFromShowSchema } from '../test/kusto';
import { type Answers, grafana, range } from '../test/grafana';
import { type HubscopeQuery, type HubscopeVariableQuery } from '../types';
import { AnnotationEditor } from './AnnotationEditor';
import { QueryEditor } from './QueryEditor';
import { QueryEditorHelp } from './QueryEditorHelp';
import { VariableEditor } from './VariableEditor';

// Monaco needs a browser (plugin/e2e has one): here a text area is the editor,
// and markers are kept as Monaco would.

interface Marker {
  message: string;
  startLineNumber: number;
  startColumn: number;
  endColumn: number;
}

const markers: Record<string, Marker[]> = {};
let run: (() => void) | undefined;
let listener: ((uris: string[]) => void) | undefined;

const mockMonaco = {
  KeyMod: { CtrlCmd: 2048, Shift: 1024 },
  KeyCode: { Enter: 3 },
  MarkerSeverity: { Error: 8 },
  editor: {
    setModelMarkers: (_model: unknown, owner: string, list: Marker[]) => {
      markers[owner] = list;
    },
    getModelMarkers: ({ owner }: { owner: string }) => markers[owner] ?? [],
    onDidChangeMarkers: (listen: (uris: string[]) => void) => {
      listener = listen;
      return { dispose: () => (listener = undefined) };
    },
  },
};

jest.mock('@grafana/ui', () => {
  const { useEffect, useRef } = jest.requireActual('react');
  return {
    ...jest.requireActual('@grafana/ui'),
    CodeEditor: function CodeEditor({ value, onChange, onBlur, onEditorDidMount, monacoOptions }: any) {
      const area = useRef(null);
      useEffect(() => {
        const text = () => area.current?.value ?? '';
        onEditorDidMount?.(
          {
            getValue: text,
            getModel: () => ({ uri: 'inmemory://1', getValue: text }),
            addAction: (action: { run: () => void }) => {
              run = action.run;
            },
          },
          mockMonaco
        );
      }, [onEditorDidMount]);
      return (
        <textarea
          key={value}
          ref={area}
          aria-label={monacoOptions.ariaLabel}
          defaultValue={value}
          onChange={(e) => onChange?.(e.target.value)}
          onBlur={(e) => onBlur?.(e.target.value)}
        />
      );
    },
  };
});

beforeEach(() => {
  for (const owner of Object.keys(markers)) {
    delete markers[owner];
  }
  jest.clearAllMocks();
});

const editor = () => screen.getByLabelText('KQL query');

function setUp(
  query: Partial<HubscopeQuery>,
  given: { answers?: Answers; app?: CoreApp; data?: PanelData; options?: object } = {}
) {
  const { datasource, requests } = grafana({ answers: given.answers, options: given.options });
  const changes: HubscopeQuery[] = [];
  const onRunQuery = jest.fn();
  function Host() {
    const [current, setCurrent] = useState<HubscopeQuery>({ refId: 'A', schemaVersion: 1, ...query });
    return (
      <QueryEditor
        query={current}
        datasource={datasource}
        onRunQuery={onRunQuery}
        onChange={(changed) => {
          changes.push(changed);
          setCurrent(changed);
        }}
        range={range}
        app={given.app}
        data={given.data}
      />
    );
  }
  render(<Host />);
  return {
    changes,
    onRunQuery,
    requests,
    user: userEvent.setup({ delay: null, pointerEventsCheck: 0 }),
    last: () => changes[changes.length - 1],
  };
}

describe('QueryEditor', () => {
  it('keeps what is typed when it is left, and runs it by key', async () => {
    const { user, last, changes, onRunQuery } = setUp({ query: 'Connections' });
    await user.type(editor(), ' | count');
    expect(changes).toHaveLength(0);
    await user.tab();
    expect(last()).toEqual({ refId: 'A', schemaVersion: 1, query: 'Connections | count' });
    expect(onRunQuery).not.toHaveBeenCalled();
    act(() => run?.());
    expect(onRunQuery).toHaveBeenCalledTimes(1);
  });

  it('runs by the button', async () => {
    const { user, onRunQuery } = setUp({ query: 'Connections' });
    await user.click(screen.getByRole('button', { name: 'Run query' }));
    expect(onRunQuery).toHaveBeenCalledTimes(1);
  });

  it('changes the format and runs', async () => {
    const { user, last, onRunQuery } = setUp({ query: 'Connections' });
    await user.click(screen.getByRole('radio', { name: 'Time series' }));
    expect(last().format).toBe('time_series');
    await user.click(screen.getByRole('radio', { name: 'Logs' }));
    expect(last().format).toBe('logs');
    expect(onRunQuery).toHaveBeenCalledTimes(2);
  });

  it('limits rows within what the settings allow', async () => {
    const { user, last } = setUp({ query: 'Connections' }, { options: { defaultRowLimit: 500, maxRowLimit: 2000 } });
    const rows = screen.getByLabelText(/Rows at most/);
    expect(rows).toHaveAttribute('placeholder', '500');
    await user.type(rows, '50{enter}');
    expect(last().rowLimit).toBe(50);
    await user.clear(rows);
    await user.type(rows, '999999{enter}');
    expect(last().rowLimit).toBe(2000);
    await user.clear(rows);
    await user.tab();
    expect(last().rowLimit).toBeUndefined();
  });

  it('gives the Kusto editor our schema', async () => {
    setUp({ query: 'Connections' });
    await waitFor(() =>
      expect(setSchemaFromShowSchema).toHaveBeenCalledWith(
        { Plugins: [], Databases: { hubscope: { Name: 'hubscope', Tables: {} } } },
        'https://hubscope',
        'hubscope'
      )
    );
  });

  it('works without completion', async () => {
    const warn = jest.spyOn(console, 'warn').mockImplementation(() => undefined);
    setSchemaFromShowSchema.mockRejectedValueOnce(new Error('no worker'));
    const { user, last } = setUp({ query: 'Connections' });
    await waitFor(() => expect(warn).toHaveBeenCalled());
    await user.type(editor(), ' | count');
    await user.tab();
    expect(last().query).toBe('Connections | count');
    warn.mockRestore();
  });

  it('marks what the service finds wrong, and nothing that it does not', async () => {
    const { user, requests } = setUp(
      { query: 'Connections\n| where "😀" == Hubb' },
      {
        answers: {
          'resources/validate': ({ data }) =>
            data.query.includes('Hubb')
              ? {
                  valid: false,
                  errors: [
                    { code: 'UnknownColumn', message: 'no column Hubb', hint: 'Hub?', line: 2, column: 16, length: 4 },
                  ],
                }
              : { valid: true },
        },
      }
    );
    expect(await screen.findByText(/Line 2, column 16: no column Hubb/)).toHaveTextContent('Hub?');
    // The emoji is one character for the service and two units for the editor.
    expect(markers.hubscope).toEqual([
      {
        message: 'no column Hubb\nHub?',
        code: 'UnknownColumn',
        severity: 8,
        startLineNumber: 2,
        startColumn: 17,
        endLineNumber: 2,
        endColumn: 21,
      },
    ]);
    // Microsoft's service finds something else wrong: not shown.
    markers.kusto = [{ message: '$hub is not known', startLineNumber: 1, startColumn: 1, endColumn: 2 }];
    act(() => listener?.(['inmemory://1']));
    expect(markers.kusto).toEqual([]);

    await user.clear(editor());
    await user.type(editor(), 'Connections');
    await waitFor(() => expect(markers.hubscope).toEqual([]));
    expect(screen.queryByText(/no column/)).not.toBeInTheDocument();
    const checks = requests.filter((r) => r.url.endsWith('/validate'));
    expect(checks).toHaveLength(2); // and not one with each key
  });

  it('leaves the marks of the language service where ours are not to be had', async () => {
    const { requests } = setUp(
      { query: 'Connections' },
      { answers: { 'resources/validate': () => Promise.reject(new Error('down')) } }
    );
    await waitFor(() => expect(requests.some((r) => r.url.endsWith('/validate'))).toBe(true));
    await act(async () => undefined);
    expect(listener).toBeUndefined();
    expect(markers.hubscope).toBeUndefined();
  });

  it('goes to the builder and back with one text', async () => {
    const { user, last } = setUp({ query: 'Connections\n| where Hub == "a"\n| take 10' });
    await user.click(screen.getByRole('radio', { name: 'Builder' }));
    expect(last()).toMatchObject({ editorMode: 'builder', builder: { table: 'Connections' } });
    expect(last().query).toBe('Connections\n| where Hub == "a"\n| take 10');
    await user.click(screen.getByRole('radio', { name: 'Code' }));
    expect(editor()).toHaveValue('Connections\n| where Hub == "a"\n| take 10');
  });

  it('asks before the builder replaces what it cannot show', async () => {
    const { user, last, changes } = setUp({ query: 'Connections | join (Devices) on DeviceId' });
    await user.click(screen.getByRole('radio', { name: 'Builder' }));
    const dialog = within(await screen.findByRole('dialog'));
    expect(dialog.getByText(/the builder has no operator “join”/)).toBeInTheDocument();
    await user.click(dialog.getByRole('button', { name: 'Cancel' }));
    expect(changes).toHaveLength(0);
    await user.click(screen.getByRole('radio', { name: 'Builder' }));
    await user.click(await screen.findByRole('button', { name: 'Begin anew' }));
    expect(last()).toMatchObject({ editorMode: 'builder', builder: { table: 'Connections' } });
  });

  it('says what was run', async () => {
    const frame = createDataFrame({ refId: 'A', fields: [] });
    frame.meta = {
      executedQueryString: 'Connections\n| where TimeGenerated >= datetime(2026-11-22)\n\n// SQL\n// SELECT',
      stats: [
        { displayName: 'Rows read', value: 12000 },
        { displayName: 'Time', value: 34.445, unit: 'ms' },
        { displayName: 'Data read', value: 62493, unit: 'decbytes' },
      ],
      custom: { rollup: 'connections_5m', cached: true },
    };
    const data = { series: [frame], state: LoadingState.Done, timeRange: range };
    const { user } = setUp({ query: 'Connections | where $__timeFilter()' }, { data });
    await user.click(screen.getByRole('button', { name: 'What was run' }));
    expect(screen.getByText(/SELECT/)).toBeInTheDocument();
    expect(
      screen.getByText(
        'Rows read: 12,000 · Time: 34.4 ms · Data read: 62.5 kB · answered from connections_5m · from the cache'
      )
    ).toBeInTheDocument();
  });

  it('says in alert rules that there are no variables', () => {
    setUp({ query: 'Connections | where Hub == $hub and $__timeFilter()' }, { app: CoreApp.UnifiedAlerting });
    expect(screen.getByText(/Alert rules have no dashboard variables/)).toBeInTheDocument();
  });

  it('takes the sides of a join and the column of search for no variables', () => {
    setUp(
      { query: 'search "x" | join (Devices) on $left.DeviceId == $right.DeviceId | summarize count() by $table' },
      { app: CoreApp.UnifiedAlerting }
    );
    expect(screen.queryByText(/Alert rules have no dashboard variables/)).not.toBeInTheDocument();
  });

  it('takes the values that came with a rule made of a panel', () => {
    setUp(
      { query: 'Connections | where Hub == $hub', variables: { hub: { values: ['a'], all: false, multi: false } } },
      { app: CoreApp.UnifiedAlerting }
    );
    expect(screen.queryByText(/Alert rules have no dashboard variables/)).not.toBeInTheDocument();
  });

  it('says in Explore which values came along, and forgets them', async () => {
    const { user, last } = setUp(
      {
        query: 'Connections | where Hub == $hub',
        variables: { hub: { values: ['plant-7'], all: false, multi: false } },
        adHocFilters: [{ key: 'Level', operator: '=', value: 'Error' }],
      },
      { app: CoreApp.Explore }
    );
    expect(screen.getByText('$hub = plant-7 · Level = Error')).toBeInTheDocument();
    await user.click(screen.getByText('Forget them'));
    expect(last().variables).toBeUndefined();
    expect(last().adHocFilters).toBeUndefined();
  });

  it('warns of queries that a newer version wrote', () => {
    setUp({ query: 'Connections', schemaVersion: 9 });
    expect(screen.getByText(/A newer version of the hubscope data source/)).toBeInTheDocument();
  });
});

describe('QueryEditorHelp', () => {
  it('has examples to click', async () => {
    const { datasource } = grafana();
    const onClickExample = jest.fn();
    render(<QueryEditorHelp datasource={datasource as never} query={{ refId: 'B' }} onClickExample={onClickExample} />);
    await userEvent.click(screen.getByRole('button', { name: /Devices by TLS version over time/ }));
    expect(onClickExample).toHaveBeenCalledWith({
      refId: 'B',
      schemaVersion: 1,
      editorMode: 'code',
      format: 'time_series',
      query: expect.stringContaining('by bin(TimeGenerated, $__timeInterval), TlsVersion'),
    });
    expect(screen.getByText('$__adhocFilters')).toBeInTheDocument();
  });
});

describe('VariableEditor', () => {
  function setUpVariable(query: unknown, answers?: Answers) {
    const { datasource } = grafana({ answers });
    const changes: HubscopeVariableQuery[] = [];
    function Host() {
      const [current, setCurrent] = useState(query as HubscopeVariableQuery);
      return (
        <VariableEditor
          query={current}
          datasource={datasource}
          onRunQuery={() => undefined}
          onChange={(changed) => {
            changes.push(changed);
            setCurrent(changed);
          }}
          range={range}
        />
      );
    }
    render(<Host />);
    return { user: userEvent.setup({ delay: null, pointerEventsCheck: 0 }), last: () => changes[changes.length - 1] };
  }

  it('edits a query, an old text too', async () => {
    const { user, last } = setUpVariable('Connections | distinct Hub');
    expect(editor()).toHaveValue('Connections | distinct Hub');
    await user.type(editor(), ', Name');
    await user.tab();
    expect(last()).toMatchObject({ source: 'query', query: 'Connections | distinct Hub, Name', schemaVersion: 1 });
    await user.type(screen.getByLabelText('Column of the values'), 'Hub{enter}');
    await user.type(screen.getByLabelText('Column of the texts'), 'Name{enter}');
    expect(last()).toMatchObject({ valueColumn: 'Hub', textColumn: 'Name' });
  });

  it('chooses a table and a column', async () => {
    const { user, last } = setUpVariable(undefined);
    await user.click(screen.getByRole('radio', { name: 'Values of a column' }));
    await user.click(screen.getByRole('combobox', { name: 'Table' }));
    await user.keyboard('Connections{Enter}');
    expect(last()).toMatchObject({ source: 'values', table: 'Connections' });
    await user.click(screen.getByRole('combobox', { name: /Column/ }));
    await user.keyboard('TlsVersion{Enter}');
    expect(last()).toMatchObject({ source: 'values', table: 'Connections', column: 'TlsVersion' });
    await user.click(screen.getByRole('radio', { name: 'Columns of a table' }));
    expect(screen.queryByRole('combobox', { name: /Column/ })).not.toBeInTheDocument();
  });

  it('says when there is no schema to choose of', async () => {
    setUpVariable(
      { refId: 'v', source: 'columns' },
      { 'resources/schema': () => Promise.reject(new Error('no answer')) }
    );
    expect(await screen.findByText('no answer')).toBeInTheDocument();
  });
});

describe('AnnotationEditor', () => {
  it('edits a query whose rows are events', async () => {
    const { datasource } = grafana();
    const onChange = jest.fn();
    render(
      <AnnotationEditor
        query={{ refId: 'Anno', query: 'Audit' }}
        datasource={datasource}
        onChange={onChange}
        onRunQuery={() => undefined}
      />
    );
    await userEvent.type(editor(), ' | take 5');
    await userEvent.tab();
    expect(onChange).toHaveBeenCalledWith({
      refId: 'Anno',
      schemaVersion: 1,
      format: 'table',
      query: 'Audit | take 5',
    });
  });
});
