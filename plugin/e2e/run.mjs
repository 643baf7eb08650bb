// Uses the plugin's page as people use Grafana. Arguments: the address of the
// page's server, that of the query service, and a folder for pictures (optional).
import assert from 'node:assert/strict';
import path from 'node:path';
import { chromium } from 'playwright-core';

const [url, service, shots] = process.argv.slice(2);

// patience is for machines with much else to do.
const patience = Number(process.env.PATIENCE ?? 90_000);

// What the browser may say: that an answer had a status of 400, where a test
// asks for something wrong (counted), and that there are no fonts: they are
// Grafana's own, not in its packages, as is the icon of waiting.
const refusal = /Failed to load resource: the server responded with a status of 400/;
const absent = /\/public\/(fonts\/.*\.woff2|build\/img\/icons\/unicons\/spinner\.svg)$/;

class Page {
  wrong = [];
  refusals = 0;

  static async open(context, view, { theme = 'dark' } = {}) {
    const p = new Page();
    Page.last = p;
    p.page = await context.newPage();
    p.page.setDefaultTimeout(patience);
    p.page.on('pageerror', (error) => p.wrong.push('error: ' + error.stack));
    p.page.on('console', (message) => {
      if (!['error', 'warning'].includes(message.type())) return;
      if (refusal.test(message.text())) p.refusals++;
      else if (absent.test(message.location().url)) return;
      else p.wrong.push(`${message.type()}: ${message.text()} ${message.location().url}`);
    });
    p.page.on('requestfailed', (request) => {
      if (!/ERR_ABORTED/.test(request.failure()?.errorText ?? '')) p.wrong.push('request: ' + request.url());
    });
    p.page.on('request', (request) => {
      if (!request.url().startsWith(url) && !/^(data|blob):/.test(request.url())) p.wrong.push('foreign request: ' + request.url());
    });
    await p.page.goto(`${url}/?view=${view}&theme=${theme}`);
    await p.page.waitForSelector('body[data-ready]');
    assert.equal(await p.page.getAttribute('body', 'data-ready'), 'yes', p.wrong.join('\n'));
    return p;
  }

  query() {
    return this.page.evaluate(() => JSON.parse(JSON.stringify(window.page.query)));
  }

  // set replaces parts of the query, as a dashboard that is loaded does.
  async set(query) {
    await this.page.evaluate((q) => window.page.setQuery({ ...window.page.query, ...q }), query);
  }

  // eventually waits until what get returns satisfies the check.
  async eventually(get, check) {
    const end = Date.now() + patience;
    for (;;) {
      try {
        return check(await get());
      } catch (error) {
        if (!(error instanceof assert.AssertionError) || Date.now() > end) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  kql(check) {
    return this.eventually(async () => (await this.query()).query, typeof check === 'string' ? (got) => assert.equal(got, check) : check);
  }

  // editor waits for Monaco with Microsoft's language service.
  async editor() {
    await this.page.waitForSelector('.monaco-editor textarea.inputarea');
  }

  // type replaces the text of the code editor.
  async type(text) {
    await this.editor();
    await this.page.focus('.monaco-editor textarea.inputarea');
    await this.page.keyboard.press('Escape');
    await this.page.keyboard.press('Control+A');
    await this.page.keyboard.press('Delete');
    await this.page.evaluate((t) => navigator.clipboard.writeText(t), text);
    await this.page.keyboard.press('Control+V');
  }

  async done() {
    await this.page.waitForSelector('[data-testid=result][data-state=Done], [data-testid=result][data-state=Error]');
  }

  async radio(name) {
    await this.page.locator('[data-testid=editor]').getByRole('radio', { name, exact: true }).click();
  }

  // variables sets those of the dashboard.
  variables(list) {
    return this.page.evaluate((vars) => {
      window.page.variables.push(
        ...vars.map(({ name, values, chosen }) => ({
          name,
          type: 'query',
          multi: Array.isArray(chosen),
          includeAll: chosen.includes('$__all'),
          current: { text: chosen, value: chosen },
          options: values.map((v) => ({ text: v, value: v, selected: chosen.includes(v) })),
        }))
      );
    }, list);
  }

  // run presses the button and returns the frames.
  async run() {
    const before = await this.page.evaluate(() => window.page.runs);
    await this.page.click('[data-testid=run]');
    await this.page.waitForFunction((n) => window.page.runs > n, before);
    await this.done();
    return this.frames();
  }

  frames() {
    return this.page.evaluate(() =>
      window.page.frames.map((f) => ({
        type: f.meta?.type,
        notices: f.meta?.notices?.map((n) => n.text) ?? [],
        executed: f.meta?.executedQueryString,
        length: f.length,
        fields: f.fields.map((x) => ({ name: x.name, type: x.type, labels: x.labels, values: Array.from(x.values).slice(0, 50) })),
      }))
    );
  }

  error() {
    return this.page.evaluate(() => window.page.error);
  }

  async choose(label, text, { nth = 0, exact = true, option = text } = {}) {
    const fields = this.page.getByLabel(label, { exact }).and(this.page.getByRole('combobox'));
    const field = nth < 0 ? fields.last() : fields.nth(nth);
    await field.click();
    await this.page.keyboard.press('Control+A'); // what was typed before
    await this.page.keyboard.type(text);
    await this.page.getByRole('option', { name: option }).first().click();
  }

  async shot(name) {
    if (shots) await this.page.screenshot({ path: path.join(shots, name + '.png'), fullPage: true });
  }

  // picture is one for plugin.json (src/img): the editor alone, its text coloured.
  async picture(name) {
    if (!shots) return;
    if (await this.page.locator('.monaco-editor').count()) {
      const colours = () => this.page.locator('.view-line span[class^=mtk]').evaluateAll((all) => new Set(all.map((e) => e.className)).size);
      await this.eventually(colours, (n) => assert.ok(n > 3));
    }
    const { x, y, width, height } = await this.page.locator('[data-testid=editor]').boundingBox();
    const clip = { x: x - 16, y: y - 16, width: width + 32, height: height + 32 };
    await this.page.screenshot({ path: path.join(shots, name + '.png'), fullPage: true, clip });
  }

  close() {
    return this.page.close();
  }
}

// ask runs a query besides the editor's, and returns what tests compare.
const ask = (p, query, request = {}) =>
  p.page.evaluate(
    async ([q, r]) => {
      const { data, error, errors, state } = await window.page.ask(q, r);
      return {
        state,
        error: (error ?? errors?.[0])?.message,
        frames: data.map((f) => ({ type: f.meta?.type, length: f.length, fields: f.fields.map((x) => ({ name: x.name, type: x.type, labels: x.labels, values: Array.from(x.values) })) })),
      };
    },
    [query, request]
  );

const column = (frame, name) => frame.fields.find((f) => f.name === name)?.values;

const tests = {
  async 'runs a query end to end'(context) {
    const p = await Page.open(context, 'panel');
    const text = 'Connections\n| where $__timeFilter()\n| summarize Events = count() by TlsVersion\n| order by TlsVersion asc';
    await p.radio('Table');
    await p.type(text);
    const [frame] = await p.run();
    assert.equal(await p.error(), undefined);
    assert.equal((await p.query()).query, text);
    assert.deepEqual(frame.fields.map((f) => f.name), ['TlsVersion', 'Events']);
    assert.ok(['1.0', '1.2', '1.3'].every((v) => frame.fields[0].values.includes(v)), frame.fields[0].values.join());
    assert.match(frame.executed, /TimeGenerated >= datetime\(/);
    await p.page.getByText('What was run').click();
    await p.page.getByText(/TimeGenerated >= datetime/).first().waitFor();
    await p.shot('query');
    await p.picture('query-editor');

    // The editor's own keys run it too, and the text goes out as it was written.
    await p.type('Connections | take 7');
    const before = await p.page.evaluate(() => window.page.runs);
    await p.page.keyboard.press('Control+Enter');
    await p.page.waitForFunction((n) => window.page.runs > n, before);
    await p.eventually(() => p.frames(), ([f]) => assert.equal(f.length, 7));
    const sent = await p.page.evaluate(() => window.page.calls.filter((c) => c.url.startsWith('/api/ds/query')).pop().data.queries[0]);
    assert.equal(sent.query, 'Connections | take 7');
    assert.equal(sent.schemaVersion, 1);
    return p;
  },

  async 'makes series'(context) {
    const p = await Page.open(context, 'panel');
    await p.radio('Time series');
    await p.type('Connections | where $__timeFilter() | summarize Events = count() by bin(TimeGenerated, $__timeInterval), TlsVersion');
    const frames = await p.run();
    assert.equal(await p.error(), undefined);
    assert.ok(frames.length > 0);
    for (const f of frames) assert.match(f.type, /^timeseries-(multi|wide)$/);
    const labels = frames.flatMap((f) => f.fields.filter((x) => x.type === 'number').map((x) => x.labels?.TlsVersion));
    assert.ok(labels.includes('1.2') && labels.includes('1.3'), labels.join());
    await p.shot('series');
    await p.type('Connections | where $__timeFilter() | where Hub == "none such" | summarize Events = count() by bin(TimeGenerated, $__timeInterval), TlsVersion');
    for (const f of await p.run()) assert.match(f.type, /^timeseries-(multi|wide)$/, 'without rows');
    return p;
  },

  async 'completes from the schema'(context) {
    const p = await Page.open(context, 'panel');
    await p.type('Connections\n| where ');
    const list = () => p.page.locator('.suggest-widget.visible .monaco-list-row .label-name').allTextContents();
    const ask = async () => {
      await p.page.keyboard.press('Escape');
      await p.page.keyboard.press('Control+Space');
      // The language service takes its time, at first.
      const end = Date.now() + patience / 4;
      for (;;) {
        const labels = await list();
        if (labels.length > 0 || Date.now() > end) return labels;
        await p.page.waitForTimeout(50);
      }
    };
    // Columns come when the language service knows the schema.
    await p.eventually(ask, (labels) => assert.ok(labels.some((l) => /^AuthType/.test(l)), labels.join()));
    await p.page.keyboard.type('TlsVer');
    await p.eventually(list, (labels) => assert.equal(labels[0], 'TlsVersion'));
    await p.shot('completion');
    await p.page.keyboard.press('Enter');
    await p.page.keyboard.type(' == "1.0" and Time');
    await p.eventually(ask, (labels) => assert.ok(labels.includes('TimeGenerated'), labels.join()));
    await p.page.keyboard.press('Escape');
    await p.page.keyboard.press('Control+A');
    await p.page.keyboard.type('Dev');
    await p.eventually(ask, (labels) => assert.ok(labels.includes('Devices'), labels.join()));
    await p.page.keyboard.press('Escape');
    // Macros are functions.
    await p.page.keyboard.press('Control+A');
    await p.page.keyboard.type('Connections | where $__time');
    await p.eventually(ask, (labels) => assert.ok(labels.some((l) => l.startsWith('$__timeFilter')), labels.join()));
    return p;
  },

  async 'marks what the service finds wrong'(context) {
    const p = await Page.open(context, 'panel');
    await p.type('Connections\n| where $__timeFilter()\n| where TlsVersoin == "1.0"');
    await p.page.getByText(/^Line 3, column 9: .*TlsVersoin/).waitFor();
    const marks = p.page.locator('.squiggly-error');
    await p.eventually(() => marks.count(), (n) => assert.ok(n > 0));
    const box = await marks.first().boundingBox();
    await p.page.mouse.move(box.x + 10, box.y + 4);
    await p.page.locator('.monaco-hover', { hasText: 'did you mean TlsVersion?' }).waitFor();
    await p.shot('marker');
    await p.page.mouse.move(5, 5);
    await p.run();
    assert.match(await p.error(), /TlsVersoin/);
    assert.equal(p.refusals, 1);
    await p.page.waitForSelector('[data-testid=error]');
    await p.type('Connections\n| where $__timeFilter()\n| where TlsVersion == "1.0"');
    await p.eventually(() => marks.count(), (n) => assert.equal(n, 0));
    await p.run();
    assert.equal(await p.error(), undefined);
    return p;
  },

  async 'builds a query'(context) {
    const p = await Page.open(context, 'panel');
    await p.radio('Table');
    await p.radio('Builder');
    const shown = () => p.page.textContent('[data-testid=builder-kql]');
    await p.choose('Table', 'Connections', { nth: -1 });
    await p.eventually(shown, (k) => assert.equal(k, 'Connections\n| where $__timeFilter()\n| order by TimeGenerated desc'));
    await p.done();
    assert.equal((await p.frames())[0].type, 'table');
    await p.shot('builder-rows');

    // A filter by a value that the service knows.
    await p.page.getByLabel('Add filter', { exact: true }).click();
    await p.choose('Column to filter by', 'TlsVersion');
    await p.choose('Value', '1.0');
    await p.eventually(shown, (k) => assert.match(k, /\n\| where TlsVersion == "1\.0"\n/));
    // Or another one.
    await p.page.getByText('or…').click();
    await p.choose('Value', '1.1', { nth: 1 });
    await p.eventually(shown, (k) => assert.match(k, /\n\| where TlsVersion == "1\.0" or TlsVersion == "1\.1"\n/));
    await p.page.keyboard.press('Escape');

    await p.radio('Aggregates');
    await p.eventually(shown, (k) => assert.match(k, /\n\| summarize count\(\) by bin\(TimeGenerated, \$__timeInterval\)$/));
    await p.choose('Aggregate function', 'dcount');
    await p.choose('Column to aggregate', 'DeviceId');
    await p.page.getByLabel('Name of the result').fill('Devices');
    await p.page.keyboard.press('Enter');
    await p.page.getByLabel('Remove group').click();
    await p.page.getByLabel('Add group').click();
    await p.choose('Column to group by', 'TlsVersion');
    await p.page.getByLabel('Add order').click();
    await p.choose('Column to order by', 'Devices');
    await p.page.getByLabel(/^Limit/).fill('10');
    await p.page.keyboard.press('Enter');
    const kql =
      'Connections\n| where $__timeFilter()\n| where TlsVersion == "1.0" or TlsVersion == "1.1"\n' +
      '| summarize Devices = dcount(DeviceId) by TlsVersion\n| order by Devices desc\n| take 10';
    await p.eventually(shown, (k) => assert.equal(k, kql));
    await p.kql(kql);
    // It has run by itself.
    await p.eventually(
      () => p.frames(),
      ([f]) => {
        assert.deepEqual(f.fields.map((x) => x.name), ['TlsVersion', 'Devices']);
        assert.deepEqual([...f.fields[0].values].sort(), ['1.0', '1.1']);
      }
    );
    await p.shot('builder');
    await p.picture('query-builder');

    // As code and back: nothing is lost.
    await p.radio('Code');
    await p.editor();
    await p.kql(kql);
    await p.radio('Builder');
    await p.eventually(shown, (k) => assert.equal(k, kql));
    assert.equal(await p.page.getByLabel('Name of the result').inputValue(), 'Devices');

    // What the builder cannot show it does not touch without being told to.
    await p.radio('Code');
    const more = kql + '\n| extend x = 1';
    await p.type(more);
    await p.radio('Builder');
    await p.page.getByText(/no operator “extend”/).waitFor();
    await p.shot('builder-refusal');
    await p.page.getByRole('button', { name: 'Cancel' }).click();
    await p.kql(more);
    await p.editor();
    return p;
  },

  async 'builds from what is stored'(context) {
    const p = await Page.open(context, 'panel', { theme: 'light' });
    await p.variables([{ name: 'hub', values: ['plant-7', 'depot'], chosen: ['$__all'] }]);
    await p.set({ editorMode: 'builder', format: 'table', query: 'Connections | where $__contains(Hub, $hub) and DurationMs > 5 | summarize countif(ResultType != ""), percentile(DurationMs, 95) by Hub' });
    await p.page.waitForSelector('[data-testid=builder-kql]');
    const shown = () => p.page.textContent('[data-testid=builder-kql]');
    const kql = 'Connections\n| where $__contains(Hub, $hub)\n| where DurationMs > 5\n| summarize countif(ResultType != ""), percentile(DurationMs, 95) by Hub';
    await p.eventually(shown, (k) => assert.equal(k, kql));
    assert.equal(await p.page.getByLabel('Dashboard variable').inputValue(), '$hub');
    assert.equal(await p.page.getByLabel('Percent').inputValue(), '95');
    const [f] = await p.run();
    assert.deepEqual(f.fields.map((x) => x.name), ['Hub', 'countif_', 'percentile_DurationMs_95']);
    await p.shot('builder-light');
    // A value that is none is marked, and left out.
    await p.choose('Value', 'soon');
    await p.eventually(shown, (k) => assert.ok(!k.includes('DurationMs >'), k));
    assert.equal(await p.page.getByLabel('Value', { exact: true }).first().getAttribute('aria-invalid'), 'true');
    // Another column, and several of its values.
    await p.choose('Column to filter by', 'TlsVersion', { nth: 1 });
    await p.choose('Comparison', 'in', { nth: 1, option: /^in is one of$/ });
    await p.choose('Values', '1.0');
    await p.choose('Values', '1.1');
    await p.page.keyboard.press('Escape');
    await p.eventually(shown, (k) => assert.match(k, /\n\| where TlsVersion in \("1\.0", "1\.1"\)\n/));
    await p.shot('builder-values');
    return p;
  },

  async 'sends the values of variables'(context) {
    const p = await Page.open(context, 'panel');
    const hubs = column((await ask(p, { query: 'Connections | distinct Hub', format: 'table' })).frames[0], 'Hub');
    assert.ok(hubs.length > 1, hubs.join());
    await p.variables([
      { name: 'hub', values: [...hubs, 'x"] | take 0 //'], chosen: [hubs[0], 'x"] | take 0 //'] },
      { name: 'all', values: hubs, chosen: ['$__all'] },
      { name: 'n', values: ['3'], chosen: '3' },
    ]);
    await p.radio('Table');
    const text = 'Connections | where Hub in ($hub) and $__contains(Hub, $all) and strlen(Hub) >= ${n:long} | summarize count() by Hub, Text = "v${n}"';
    await p.type(text);
    const [f] = await p.run();
    assert.equal(await p.error(), undefined);
    assert.deepEqual(column(f, 'Hub'), [hubs[0]]);
    assert.deepEqual(column(f, 'Text'), ['v3']);
    const sent = await p.page.evaluate(() => window.page.calls.filter((c) => c.url.startsWith('/api/ds/query')).pop().data.queries[0]);
    assert.equal(sent.query, text);
    assert.deepEqual(sent.variables.hub.values, [hubs[0], 'x"] | take 0 //']);
    assert.equal(sent.variables.all.all, true);
    // A repeated panel has its own value.
    const other = (await ask(p, { query: 'Connections | where Hub == $hub | distinct Hub', format: 'table' }, { scopedVars: { hub: { text: hubs[1], value: hubs[1] } } })).frames[0];
    assert.deepEqual(column(other, 'Hub'), [hubs[1]]);
    // Ad hoc filters.
    await p.page.evaluate((hub) => (window.page.filters = [{ key: 'Hub', operator: '=', value: hub }]), hubs[1]);
    await p.type('Connections | distinct Hub');
    assert.deepEqual(column((await p.run())[0], 'Hub'), [hubs[1]]);
    const keys = await p.page.evaluate(() => window.page.source.getTagKeys());
    assert.ok(keys.some((k) => (k.value ?? k.text) === 'TlsVersion'));
    const values = await p.page.evaluate(() => window.page.source.getTagValues({ key: 'TlsVersion', filters: [] }));
    assert.ok(values.some((v) => v.text === '1.3'), JSON.stringify(values));
    return p;
  },

  async 'edits a variable'(context) {
    const p = await Page.open(context, 'variable');
    const values = () => p.page.locator('[data-testid=values] li').allTextContents();
    await p.radio('Query');
    await p.type('Connections | distinct TlsVersion | where isnotempty(TlsVersion) | order by TlsVersion asc');
    await p.page.click('[data-testid=run]');
    await p.eventually(values, (v) => assert.deepEqual(v, ['1.0', '1.1', '1.2', '1.3']));
    await p.shot('variable');
    await p.radio('Values of a column');
    await p.choose('Table', 'Connections');
    await p.choose(/^Column/, 'Protocol');
    await p.eventually(values, (v) => assert.ok(v.includes('Mqtt'), v.join()));
    await p.shot('variable-values');
    await p.radio('Columns of a table');
    await p.page.click('[data-testid=run]');
    await p.eventually(values, (v) => assert.ok(v.includes('TlsCipher'), v.join()));
    return p;
  },

  async 'edits an annotation'(context) {
    const p = await Page.open(context, 'annotation');
    await p.type('Connections | where $__timeFilter() | where OperationName == "connectionRefused" | project [\'time\'] = TimeGenerated, text = ResultType, tags = Hub | take 5');
    const [f] = await p.run();
    assert.equal(await p.error(), undefined);
    assert.deepEqual(f.fields.map((x) => [x.name, x.type]), [['time', 'time'], ['text', 'string'], ['tags', 'string']]);
    assert.ok(f.length > 0);
    const sent = await p.page.evaluate(() => window.page.calls.filter((c) => c.url.startsWith('/api/ds/query')).pop().data.queries[0]);
    assert.equal(sent.purpose, 'annotation');
    await p.shot('annotation');
    return p;
  },

  async 'explores logs'(context) {
    const p = await Page.open(context, 'explore');
    await p.radio('Logs');
    const text = 'Connections | where $__timeFilter()';
    await p.type(text);
    const [f] = await p.run();
    assert.equal(await p.error(), undefined);
    assert.equal(f.type, 'log-lines');
    assert.ok(f.length > 10);
    await p.shot('logs');
    const volume = await p.page.evaluate(async () => {
      const { source, query } = window.page;
      const r = source.getSupplementaryRequest('LogsVolume', { targets: [query] });
      const { data, error } = await window.page.ask(r.targets[0]);
      return { error, types: data.map((x) => x.meta?.type), sum: data.flatMap((x) => x.fields.filter((y) => y.type === 'number').flatMap((y) => Array.from(y.values))).reduce((a, b) => a + (b ?? 0), 0) };
    });
    assert.equal(volume.error, undefined);
    assert.ok(volume.types.length > 0 && volume.types.every((x) => /^timeseries-/.test(x)), volume.types.join());
    assert.ok(volume.sum >= f.length, `${volume.sum} of ${f.length}`);
    const around = await p.page.evaluate(async () => {
      const { source, query, frames } = window.page;
      const [frame] = frames;
      const at = (name) => frame.fields.find((x) => x.name === name);
      const rowIndex = at('labels').values.findIndex((l) => l.DeviceId);
      const row = {
        dataFrame: frame,
        rowIndex,
        uid: at('id').values[rowIndex],
        timeEpochMs: at('timestamp').values[rowIndex],
        timeEpochNs: String(at('timestamp').values[rowIndex]) + '000000',
        labels: at('labels').values[rowIndex],
      };
      const { data, error } = await source.getLogRowContext(row, { direction: 'BACKWARD', limit: 20 }, query);
      const labels = data[0].fields.find((x) => x.name === 'labels').values;
      return { error, device: row.labels.DeviceId, devices: [...new Set(Array.from(labels, (l) => l.DeviceId))] };
    });
    assert.equal(around.error, undefined);
    assert.deepEqual(around.devices, [around.device]);
    // Filters of log details, there and back.
    const [added, removed] = await p.page.evaluate(() => {
      const { source, query } = window.page;
      const filter = { type: 'FILTER_FOR', options: { key: 'TlsVersion', value: '1.0' } };
      const q = source.toggleQueryFilter(query, filter);
      return [q.query, source.toggleQueryFilter(q, filter).query];
    });
    assert.match(added, /\| where TlsVersion == "1\.0"/);
    assert.equal(removed, text);
    const narrow = await ask(p, { query: added, format: 'logs' });
    assert.equal(narrow.error, undefined);
    const versions = (frame) => [...new Set(column(frame, 'labels').map((l) => l.TlsVersion))];
    assert.deepEqual(versions(narrow.frames[0]), ['1.0']);
    assert.ok(versions(f).length > 1, versions(f).join());
    return p;
  },

  async 'follows live'(context) {
    const p = await Page.open(context, 'explore');
    const lines = await p.page.evaluate(
      () =>
        new Promise((resolve, reject) => {
          const { source } = window.page;
          const now = Date.now();
          const got = [];
          const sub = source
            .query({
              app: 'explore',
              requestId: 'tail',
              liveStreaming: true,
              intervalMs: 1000,
              maxDataPoints: 1000,
              range: { from: { valueOf: () => now - 60000 }, to: { valueOf: () => now } },
              scopedVars: {},
              targets: [{ refId: 'T', datasource: source.getRef(), schemaVersion: 1, format: 'logs', query: 'Connections | where isnotempty(DeviceId)' }],
            })
            .subscribe({
              next: (r) => {
                if (r.error ?? r.errors?.[0]) reject(new Error((r.error ?? r.errors[0]).message));
                for (const f of r.data ?? []) if (f.length) got.push(...f.fields.find((x) => x.name === 'labels').values.map((l) => l.DeviceId));
                if (got.length >= 3) {
                  sub.unsubscribe();
                  resolve(got);
                }
              },
              error: reject,
            });
        })
    );
    assert.ok(lines.length >= 3 && lines.every(Boolean), lines.join());
    return p;
  },

  async 'edits the settings'(context) {
    const p = await Page.open(context, 'config');
    const options = () => p.page.evaluate(() => JSON.parse(JSON.stringify(window.page.options)));
    await p.page.locator('input[value="' + service + '"]').waitFor();
    await p.shot('config');
    await p.page.click('[data-testid=test]');
    const health = p.page.locator('[data-testid=health]');
    await health.waitFor();
    const said = await health.textContent();
    assert.match(said, /hubscope/i);
    await p.page.getByLabel('Rows at most', { exact: true }).fill('5');
    await p.page.getByLabel('Timeout', { exact: true }).fill('20');
    await p.eventually(options, (o) => assert.deepEqual([o.jsonData.maxRowLimit, o.jsonData.timeoutSeconds], [5, 20]));
    await p.choose(/authentication method/i, 'Bearer token', { exact: false });
    await p.page.getByLabel('Token', { exact: true }).fill('secret');
    await p.eventually(options, (o) => assert.equal(o.secureJsonData.token, 'secret'));
    await p.shot('config-token');
    await p.page.click('[data-testid=test]');
    await health.waitFor();
    await p.eventually(options, (o) => assert.deepEqual([o.secureJsonData?.token, o.secureJsonFields.token], [undefined, true]));
    // The settings count: rows are cut, and a notice says so.
    const cut = await ask(p, { query: 'Connections', format: 'table' });
    assert.equal(cut.error, undefined);
    assert.equal(cut.frames[0].length, 5);
    // An address where nothing listens: a hint, and no stack.
    await p.page.locator('input[value="' + service + '"]').fill('http://127.0.0.1:1');
    await p.page.click('[data-testid=test]');
    await p.eventually(() => health.textContent(), (text) => assert.match(text, /127\.0\.0\.1:1/));
    await p.shot('config-refused');
    assert.equal(p.refusals, 1);
    // For the tests that follow.
    await p.page.locator('input[value="http://127.0.0.1:1"]').fill(service);
    await p.page.getByLabel('Rows at most', { exact: true }).fill('');
    await p.page.click('[data-testid=test]');
    await p.eventually(() => health.textContent(), (text) => assert.match(text, /hubscope/i));
    return p;
  },

  async 'names every control'(context) {
    for (const view of ['panel', 'variable', 'config']) {
      const p = await Page.open(context, view);
      if (view === 'panel') {
        await p.set({
          editorMode: 'builder',
          query: 'Connections | where TlsVersion in ("1.0") or DurationMs between (1 .. 2) | summarize countif(Hub == "a"), percentile(DurationMs, 5), arg_max(TimeGenerated, *) by Hub, bin(TimeGenerated, 1h) | where countif_ > 1 | order by Hub asc',
        });
        await p.page.waitForSelector('[data-testid=builder-kql]');
      }
      const nameless = await p.page.evaluate(() =>
        [...document.querySelectorAll('[data-testid=editor] :is(button, input, select, textarea, [role=radio], [role=combobox])')]
          .filter((e) => !e.closest('.monaco-editor') && e.type !== 'hidden' && e.getClientRects().length > 0)
          .filter((e) => !(e.getAttribute('aria-label') || document.getElementById(e.getAttribute('aria-labelledby')) || e.textContent.trim() || e.title || [...(e.labels ?? [])].some((l) => l.textContent.trim())))
          .map((e) => e.outerHTML.slice(0, 160))
      );
      assert.deepEqual(nameless, [], view);
      const twice = await p.page.evaluate(() => {
        const ids = [...document.querySelectorAll('[data-testid=editor] [id]')].filter((e) => !e.closest('svg')).map((e) => e.id);
        return ids.filter((id, i) => ids.indexOf(id) !== i);
      });
      assert.deepEqual(twice, [], view);
      if (view === 'config') return p;
      assert.deepEqual(p.wrong, [], view);
      await p.close();
    }
  },
};

const only = process.env.ONLY;
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
// One for all pages, whose cache they share: loading and compiling Grafana's packages takes most of the time.
const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: url });
await context.addInitScript(() => localStorage.clear());
let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  if (only && !name.includes(only)) continue;
  const begin = Date.now();
  let timer;
  try {
    const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error('took too long')), 6 * patience)));
    const p = await Promise.race([test(context), late]);
    assert.deepEqual(p.wrong, [], 'what should not happen');
    await p.close();
    console.log(`ok    ${name} (${((Date.now() - begin) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed++;
    console.log(`FAIL  ${name}: ${error.stack}\n${Page.last?.wrong.join('\n')}`);
    if (shots) for (const [i, page] of context.pages().entries()) await page.screenshot({ path: path.join(shots, `failed-${failed}-${i}.png`), fullPage: true }).catch(() => undefined);
  } finally {
    clearTimeout(timer);
    for (const page of context.pages()) await page.close().catch(() => undefined);
  }
}
await browser.close();
console.log(failed === 0 ? 'all ok' : `${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
