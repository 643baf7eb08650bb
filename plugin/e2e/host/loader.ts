// Loads module.js as Grafana does: SystemJS with its AMD extra, and the
// packages that Grafana shares with its plugins.
import * as emotion from '@emotion/css';
import * as emotionReact from '@emotion/react';
import * as data from '@grafana/data';
import { getI18nInstance } from '@grafana/i18n/internal';
import * as runtime from '@grafana/runtime';
import * as ui from '@grafana/ui';
import i18next from 'i18next';
import * as lodash from 'lodash';
import * as moment from 'moment';
import * as react from 'react';
import * as reactDom from 'react-dom';
import * as jsxRuntime from 'react/jsx-runtime';
import * as rxjs from 'rxjs';
import * as rxjsOperators from 'rxjs/operators';

type Module = Record<string, unknown>;

const shared: Record<string, Module | (() => Promise<Module>)> = {
  '@emotion/css': emotion,
  '@emotion/react': emotionReact,
  '@grafana/data': data,
  '@grafana/runtime': runtime,
  '@grafana/ui': ui,
  '@kusto/monaco-kusto': () => import('@kusto/monaco-kusto'),
  i18next: (getI18nInstance() ?? i18next) as unknown as Module,
  lodash: { ...lodash, __useDefault: true },
  moment: { ...moment, __useDefault: true },
  react,
  'react-dom': reactDom,
  'react/jsx-runtime': jsxRuntime,
  rxjs,
  'rxjs/operators': rxjsOperators,
};

interface SystemJs {
  set(id: string, module: Module): void;
  addImportMap(map: { imports: Record<string, string> }): void;
  import(id: string): Promise<Module>;
  constructor: { prototype: Record<string, (...args: never[]) => unknown> };
}

declare global {
  interface Window {
    System: SystemJs;
    define?: unknown;
    __grafana_amd_define?: unknown;
  }
}

const script = (src: string) =>
  new Promise<void>((resolve, reject) => {
    const element = document.createElement('script');
    element.src = src;
    element.onload = () => resolve();
    element.onerror = () => reject(new Error(`${src} was not loaded`));
    document.head.append(element);
  });

/** load returns what the module exports. */
export async function load(url: string): Promise<Module> {
  await script('/host/system.js');
  await script('/host/system-amd.js');
  // A global define would make others believe that they are AMD modules.
  window.__grafana_amd_define = window.define;
  window.define = undefined;

  const imports: Record<string, string> = {};
  const lazy: Record<string, () => Promise<Module>> = {};
  for (const [name, module] of Object.entries(shared)) {
    imports[name] = `package:${name}`;
    if (typeof module === 'function') {
      lazy[imports[name]] = module;
    } else {
      window.System.set(imports[name], module);
    }
  }
  window.System.addImportMap({ imports });

  const proto = window.System.constructor.prototype;
  const { instantiate, fetch: systemFetch } = proto as unknown as {
    instantiate: (url: string, ...rest: unknown[]) => unknown;
    fetch: (url: string, options?: unknown) => Promise<Response>;
  };
  Object.assign(proto, {
    instantiate(this: unknown, id: string, ...rest: unknown[]) {
      if (!lazy[id]) {
        return instantiate.call(this, id, ...rest);
      }
      return [[], (set: (m: Module) => void) => ({ execute: async () => set({ ...(await lazy[id]()) }) })];
    },
    shouldFetch: () => true,
    async fetch(this: unknown, at: string, options?: unknown) {
      const answer = await systemFetch.call(this, at, options);
      if (!/javascript/.test(answer.headers.get('content-type') ?? '')) {
        return answer;
      }
      const source = `(function(define){\n${await answer.text()}\n})(window.__grafana_amd_define);`;
      return new Response(new Blob([source], { type: 'text/javascript' }));
    },
  });
  return window.System.import(url);
}
