import { fireEvent, render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { useState } from 'react';
import { QueryBuilder, BuilderTarget } from './QueryBuilder';
import { grafana, range } from '../test/grafana';
import { toKql } from './write';

// What a browser is needed for, lists that open among it, is in plugin/e2e.

function show(initial: BuilderTarget, fails = false) {
  const { datasource, requests } = grafana({
    variables: [{ name: 'hub', value: 'plant-7' }],
    answers: fails
      ? { 'resources/schema': () => Promise.reject({ data: { error: { message: 'the service is not there' } } }) }
      : { 'resources/values': () => [{ text: '1.0', value: '1.0', count: 3 }] },
  });
  const changes: BuilderTarget[] = [];
  const onRunQuery = jest.fn();
  function Host() {
    const [query, setQuery] = useState(initial);
    return (
      <QueryBuilder
        query={query}
        onChange={(q) => {
          changes.push(q);
          setQuery(q);
        }}
        onRunQuery={onRunQuery}
        datasource={datasource}
        range={range}
      />
    );
  }
  render(<Host />);
  return { changes, onRunQuery, requests };
}

const kql = () => screen.getByTestId('builder-kql').textContent;

test('shows what the text says, and changes it', async () => {
  const { changes, onRunQuery } = show({
    query:
      'Connections | where TlsVersion == "1.0" or Hub == $hub | summarize Devices = dcount(DeviceId) by TlsVersion | take 5',
  });
  await waitFor(() => expect(screen.getAllByLabelText('Column to filter by')).toHaveLength(2));
  expect(screen.getAllByLabelText('Value').map((e) => (e as HTMLInputElement).value)).toEqual(['1.0', '$hub']);
  expect(screen.getByLabelText('Name of the result')).toHaveValue('Devices');

  fireEvent.change(screen.getByLabelText('Name of the result'), { target: { value: 'Legacy devices' } });
  expect(onRunQuery).not.toHaveBeenCalled(); // while one types
  fireEvent.blur(screen.getByLabelText('Name of the result'));
  expect(onRunQuery).toHaveBeenCalledTimes(1);
  await userEvent.click(screen.getAllByLabelText('Remove filter')[0]);
  fireEvent.change(screen.getByLabelText(/^Limit/), { target: { value: '' } });
  fireEvent.blur(screen.getByLabelText(/^Limit/));
  const want = 'Connections\n| where Hub == $hub\n| summarize ["Legacy devices"] = dcount(DeviceId) by TlsVersion';
  expect(kql()).toBe(want);
  const last = changes[changes.length - 1];
  expect(last.query).toBe(want);
  expect(toKql(last.builder!)).toBe(want);
  expect(onRunQuery).toHaveBeenCalledTimes(3);
});

test('keeps what is not complete, and runs nothing for it', async () => {
  const { changes, onRunQuery } = show({ query: 'Connections' });
  await userEvent.click(screen.getByLabelText('Add filter'));
  expect(screen.getByLabelText('Column to filter by')).toBeInTheDocument();
  expect(changes[0]).toMatchObject({ query: 'Connections', builder: { filters: [[{ column: '', values: [] }]] } });
  expect(onRunQuery).not.toHaveBeenCalled();
});

test('begins an aggregate with counts over time', async () => {
  show({ query: 'Connections | where $__timeFilter()' });
  await userEvent.click(screen.getByRole('radio', { name: 'Aggregates' }));
  expect(kql()).toBe(
    'Connections\n| where $__timeFilter()\n| summarize count() by bin(TimeGenerated, $__timeInterval)'
  );
  await userEvent.click(screen.getByLabelText('Add filter of the result'));
  expect(screen.getByLabelText('Column to filter by')).toBeInTheDocument();
  await userEvent.click(screen.getByRole('radio', { name: 'Rows' }));
  expect(kql()).toBe('Connections\n| where $__timeFilter()');
});

test('leaves alone what it cannot show', async () => {
  const text = 'Connections\n| extend x = "<b>"';
  const { changes } = show({ query: text });
  const alert = within(screen.getByRole('status'));
  expect(alert.getByText(/Line 2, column 3: the builder has no operator “extend”/)).toBeInTheDocument();
  expect(changes).toEqual([]);
  await userEvent.click(screen.getByText('Start over'));
  expect(changes[0]).toMatchObject({ query: '', builder: { table: '' } });
});

test('says why there are no tables', async () => {
  show({ query: '' }, true);
  expect(await screen.findByText(/the service is not there/)).toBeInTheDocument();
});
