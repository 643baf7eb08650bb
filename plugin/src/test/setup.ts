import '@testing-library/jest-dom';
import { configure } from '@testing-library/react';
import { TextDecoder, TextEncoder } from 'util';

// Elements are found whether styles show them or not: jsdom takes long to say.
configure({ defaultHidden: true, asyncUtilTimeout: 20_000 });

Object.assign(globalThis, { TextDecoder, TextEncoder });

// What jsdom lacks and @grafana/ui asks for.
Object.defineProperty(globalThis, 'matchMedia', {
  writable: true,
  value: (media: string) => ({
    matches: false,
    media,
    onchange: null,
    addListener() {},
    removeListener() {},
    addEventListener() {},
    removeEventListener() {},
    dispatchEvent: () => false,
  }),
});
HTMLCanvasElement.prototype.getContext = (() => ({
  measureText: (text: string) => ({ width: 7 * text.length }),
})) as never;
class Observer {
  observe() {}
  unobserve() {}
  disconnect() {}
  takeRecords() {
    return [];
  }
}
Object.assign(globalThis, { ResizeObserver: Observer, IntersectionObserver: Observer });
