// The page's side of the worker with the language service.

import type { Answers } from "./kusto-worker"

export interface Completions {
  // What of the text a completion replaces.
  start: number
  length: number
  items: Completion[]
}

export interface Completion {
  kind: string
  label: string
  match: string
  text: string
  // The cursor goes between text and after.
  after: string
}

export interface Coloured {
  kind: string
  start: number
  length: number
}

export interface Edit {
  start: number
  length: number
  text: string
}

export interface Question {
  id: number
  ask: keyof Answers
  args: unknown[]
}

export interface Reply {
  id: number
  answer?: unknown
  failed?: string
}

// Kusto asks the worker. It answers in order, one question at a time.
export class Kusto {
  private readonly open = new Map<number, { resolve: (answer: unknown) => void; reject: (reason: unknown) => void }>()
  private last = 0

  constructor(private readonly worker: Worker) {
    worker.onmessage = (event: MessageEvent<Reply>) => {
      const { id, answer, failed } = event.data
      const waiting = this.open.get(id)
      this.open.delete(id)
      if (failed === undefined) waiting?.resolve(answer)
      else waiting?.reject(new Error(failed))
    }
    worker.onerror = (event) => {
      for (const waiting of this.open.values()) waiting.reject(new Error(event.message))
      this.open.clear()
    }
  }

  ask<K extends keyof Answers>(ask: K, ...args: Parameters<Answers[K]>): Promise<ReturnType<Answers[K]>> {
    const id = ++this.last
    return new Promise((resolve, reject) => {
      this.open.set(id, { resolve: resolve as (answer: unknown) => void, reject })
      this.worker.postMessage({ id, ask, args } satisfies Question)
    })
  }
}
