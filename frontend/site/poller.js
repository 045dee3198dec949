// Polls the API, one request at a time. It does not know the page: it reports results
// to its listener.

const INTERVAL = 2000; // ms between requests while they succeed
const TIMEOUT = 3000; // ms until a request counts as failed
const LONGEST_WAIT = 30000; // ms, the longest time between attempts while requests fail
const LONGEST_BODY = 65536; // characters; a real response has a few hundred

// check returns the response in a text, or throws an error that says what is wrong.
function check(text) {
  if (text.length > LONGEST_BODY) {
    throw new Error("The answer is far too long.");
  }
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error("The answer is not JSON.");
  }
  for (const field of ["hostname", "ip", "status"]) {
    if (typeof answer?.[field] !== "string" || answer[field] === "") {
      throw new Error(`The answer has no ${field}.`);
    }
  }
  return answer;
}

// explain replaces the browser's wording with plain words.
function explain(error) {
  if (error.name === "TimeoutError") {
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

  // listener has asking(), answered(answer, latency), failed(reason) and
  // waiting(milliseconds).
  constructor(url, listener) {
    this.#url = url;
    this.#listener = listener;
  }

  // poll sends a request, unless one is in progress, and then polls regularly.
  async poll() {
    if (this.#busy) {
      return;
    }
    this.#busy = true;
    clearTimeout(this.#timer);
    this.#listener.asking();
    const wait = await this.#ask();
    this.#busy = false;
    this.#timer = setTimeout(() => this.poll(), wait);
    this.#listener.waiting(wait);
  }

  // ask sends a request and returns the time to wait before the next.
  async #ask() {
    const start = performance.now();
    try {
      const response = await fetch(this.#url, {
        signal: AbortSignal.timeout(TIMEOUT),
        cache: "no-store",
        headers: { Accept: "application/json" },
      });
      if (!response.ok) {
        throw new Error(`The service answered with status ${response.status}.`);
      }
      const answer = check(await response.text());
      const latency = performance.now() - start;
      this.#failures = 0;
      this.#listener.answered(answer, latency);
      return Math.max(0, INTERVAL - latency);
    } catch (error) {
      this.#failures += 1;
      this.#listener.failed(explain(error));
      return Math.min(LONGEST_WAIT, INTERVAL * 2 ** (this.#failures - 1));
    }
  }
}
