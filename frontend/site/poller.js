// Asks the API again and again, one request at a time. It knows nothing of the
// page: what it learns it reports to its listener.

const INTERVAL = 2000; // ms from one request to the next while all is well
const TIMEOUT = 3000; // ms until a request counts as failed
const LONGEST_WAIT = 30000; // ms between two attempts while nobody answers
const LONGEST_BODY = 65536; // characters; a real answer has a few hundred

// check gives the answer that a text holds, or throws what is wrong with it.
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

// explain puts the browser's wording into plain words.
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

  // poll asks now, unless a request is under way, and from then on regularly.
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

  // ask makes a request and gives the time to wait for the next.
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
