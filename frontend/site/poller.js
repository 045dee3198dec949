// Asks one URL again and again, one request at a time. It knows nothing of the
// page: what it learns it reports to its listener.

const INTERVAL = 2000; // ms between the starts of two requests while all is well
const TIMEOUT = 3000; // ms until a request counts as failed
const LONGEST_WAIT = 30000; // ms between two attempts while nobody answers
const LONGEST_BODY = 65536; // characters; a real answer has a few hundred

// Answer is what GET /api/ must hold to be believed.
function check(answer) {
  for (const field of ["hostname", "ip", "status"]) {
    if (typeof answer?.[field] !== "string" || answer[field] === "") {
      throw new Error(`The answer has no ${field}.`);
    }
  }
  return answer;
}

async function ask(url, signal) {
  const response = await fetch(url, { signal, cache: "no-store", headers: { Accept: "application/json" } });
  if (!response.ok) {
    throw new Error(`The service answered with status ${response.status}.`);
  }
  const text = await response.text();
  if (text.length > LONGEST_BODY) {
    throw new Error("The answer is far too long.");
  }
  try {
    return check(JSON.parse(text));
  } catch (error) {
    throw error instanceof SyntaxError ? new Error("The answer is not JSON.") : error;
  }
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
  #listener;
  #timer;
  #busy = false;
  #failures = 0;

  // listener has answered(answer, latency), failed(reason), asking() and
  // waiting(milliseconds).
  constructor(url, listener) {
    this.#url = url;
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
    const controller = new AbortController();
    let timedOut = false;
    const deadline = setTimeout(() => {
      timedOut = true;
      controller.abort();
    }, TIMEOUT);
    const start = performance.now();
    let wait = INTERVAL;
    try {
      const answer = await ask(this.#url, controller.signal);
      const latency = performance.now() - start;
      this.#failures = 0;
      wait = Math.max(0, INTERVAL - latency);
      this.#listener.answered(answer, latency);
    } catch (error) {
      wait = Math.min(LONGEST_WAIT, INTERVAL * 2 ** this.#failures);
      this.#failures += 1;
      this.#listener.failed(explain(error, timedOut));
    } finally {
      clearTimeout(deadline);
      this.#busy = false;
      this.#timer = setTimeout(() => this.poll(), wait);
      this.#listener.waiting(wait);
    }
  }
}
