// Follows a stream of server-sent events for a while.

import { check, LONGEST_BODY } from "./answer.js";

const KINDS = ["message", "heartbeat"]; // names of the events that hold an answer

// follow reports up to limits.beats events: to heard(answer, latency), where the
// latency is that of the stream's own request. It ends when it has them, when the
// stream does, or when the first or the next event takes too long (limits.first,
// limits.next, in ms). It gives how many there were, and how long ago, in ms, the
// last one was. Why a stream failed no browser tells: ask otherwise.
export function follow(url, limits, heard) {
  return new Promise((resolve) => {
    const start = performance.now();
    const source = new EventSource(url);
    let beats = 0;
    let latency;
    let last = start;
    let deadline = setTimeout(end, limits.first);

    function end() {
      clearTimeout(deadline);
      source.close(); // also keeps it from connecting again by itself
      resolve({ beats, since: performance.now() - last });
    }

    function beat(event) {
      let answer;
      try {
        answer = check(event.data.slice(0, LONGEST_BODY));
      } catch {
        end();
        return;
      }
      last = performance.now();
      latency ??= last - start;
      beats += 1;
      heard(answer, latency);
      clearTimeout(deadline);
      if (beats === limits.beats) {
        end();
      } else {
        deadline = setTimeout(end, limits.next);
      }
    }

    for (const kind of KINDS) {
      source.addEventListener(kind, beat);
    }
    source.addEventListener("error", end);
  });
}
