// Asks the API again and again, one request at a time: by a stream of events
// where there is one, by single requests otherwise. It knows nothing of the page:
// what it learns it reports to its listener.

import { check, LONGEST_BODY } from "./answer.js";
import { follow } from "./stream.js";

const INTERVAL = 2000; // ms between two answers while all is well
const TIMEOUT = 3000; // ms until a request counts as failed
const LONGEST_WAIT = 30000; // ms between two attempts while nobody answers
const STREAM_PAUSE = 300000; // ms until a stream that never came is tried again
const BEATS = 3; // events of one stream, until another container may be chosen

async function ask(url, signal) {
  const response = await fetch(url, { signal, cache: "no-store", headers: { Accept: "application/json" } });
  if (!response.ok) {
    throw new Error(`The service answered with status ${response.status}.`);
  }
  const text = await response.text();
  if (text.length > LONGEST_BODY) {
    throw new Error("The answer is far too long.");
  }
  return check(text);
}

// explain puts the browser's wording into plain words.
function explain(error, timedOut) {
  if (timedOut) {
    return `No answer within ${TIMEOUT / 1000} seconds.`;
  }
  if (error instanceof TypeError) {
    return navigator.onLine === false ? "This device has no network." : "The connection failed.";
  }
  return error.message;
}

export class Poller {
  #url;
  #events;
  #listener;
  #timer;
  #busy = false;
  #failures = 0;
  #streamed = false; // whether there has ever been a stream
  #streamFrom = 0; // performance.now() from which on a stream may be tried

  // url answers single requests, events is a stream of the same answers. listener
  // has answered(answer, latency, streamed), failed(reason), asking() and
  // waiting(milliseconds).
  constructor(url, events, listener) {
    this.#url = url;
    this.#events = events;
    this.#listener = listener;
  }

  // poll asks now, unless a request is under way, and from then on regularly.
  async poll() {
    if (this.#busy) {
      return;
    }
    this.#busy = true;
    clearTimeout(this.#timer);
    this.#listener.asking();
    const wait = (await this.#stream()) ?? (await this.#ask());
    this.#busy = false;
    this.#timer = setTimeout(() => this.poll(), wait);
    this.#listener.waiting(wait);
  }

  // stream takes some answers from a stream and gives the time to wait; nothing if
  // a single request has to say how things stand. A stream stays with one
  // container. So that all are seen it is left after a few events: the load
  // balancer chooses anew.
  async #stream() {
    if (this.#failures > 0 || performance.now() < this.#streamFrom) {
      return undefined;
    }
    const limits = { beats: BEATS, first: TIMEOUT, next: 2 * INTERVAL };
    const { beats, since } = await follow(this.#events, limits, (answer, latency) =>
      this.#listener.answered(answer, latency, true),
    );
    this.#streamed ||= beats > 0;
    if (beats === 0) {
      this.#streamFrom = performance.now() + (this.#streamed ? LONGEST_WAIT : STREAM_PAUSE);
    }
    return beats < BEATS ? undefined : Math.max(0, INTERVAL - since);
  }

  // ask makes a single request and gives the time to wait for the next.
  async #ask() {
    const controller = new AbortController();
    let timedOut = false;
    const deadline = setTimeout(() => {
      timedOut = true;
      controller.abort();
    }, TIMEOUT);
    const start = performance.now();
    try {
      const answer = await ask(this.#url, controller.signal);
      const latency = performance.now() - start;
      this.#failures = 0;
      this.#listener.answered(answer, latency, false);
      return Math.max(0, INTERVAL - latency);
    } catch (error) {
      this.#failures += 1;
      this.#listener.failed(explain(error, timedOut));
      return Math.min(LONGEST_WAIT, INTERVAL * 2 ** (this.#failures - 1));
    } finally {
      clearTimeout(deadline);
    }
  }
}
