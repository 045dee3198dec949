// Draws the model into the page. Text only ever goes in as text, and styles
// only through properties, so that the strictest content security policy holds.

const TONES = 6; // colours that style.css defines
const SLOTS = 60; // answers on the timeline
const GONE_AFTER = 20000; // ms without an answer until a container counts as gone
const SVG = "http://www.w3.org/2000/svg";
const still = matchMedia("(prefers-reduced-motion: reduce)");

const byId = (id) => document.getElementById(id);

function element(name, className, text) {
  const node = document.createElement(name);
  node.className = className;
  if (text !== undefined) {
    node.textContent = text;
  }
  return node;
}

// setText leaves the page alone where nothing has changed.
function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) {
    return `${seconds} s`;
  }
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) {
    return `${minutes} min ${seconds % 60} s`;
  }
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

const milliseconds = (value) => (value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`);
const clock = (time) => new Date(time).toLocaleTimeString();
const plural = (count, noun) => `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;

// ago says it in one unit, for the places where a rough idea will do.
function ago(elapsed) {
  return elapsed < 3000 ? "just now" : `${duration(elapsed).replace(/(min|h) .*/, "$1")} ago`;
}

// split takes a hostname apart into its own name and its domain.
function split(hostname) {
  const dot = hostname.indexOf(".");
  return dot > 0 && /[a-z]/i.test(hostname) ? [hostname.slice(0, dot), hostname.slice(dot)] : [hostname, ""];
}

// hostname is a name that may break before its domain and nowhere else.
function hostname(text) {
  const [name, domain] = split(text);
  return [name, element("wbr", ""), element("span", "domain", domain)];
}

// shorten makes a commit id as short as people know it.
export const shorten = (version) => (/^[0-9a-f]{40}$/.test(version) ? version.slice(0, 7) : version);

// height maps a latency to a bar, logarithmically: 1 ms is low, 1 s is full.
const height = (latency) => `${Math.min(100, 8 + (92 * Math.log1p(latency)) / Math.log1p(1000)).toFixed(1)}%`;

// lane is a strip with one cell for each slot of the timeline.
function lane() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${SLOTS * 4} 10`);
  svg.setAttribute("preserveAspectRatio", "none");
  const path = document.createElementNS(SVG, "path");
  svg.append(path);
  return { svg, path };
}

// cells is the outline of the cells with the given numbers.
const cells = (numbers) => numbers.map((n) => `M${n * 4} 0h3v10h-3z`).join("");

// glide lets what has moved by one slot arrive there gently.
function glide(node) {
  if (!still.matches) {
    node.animate([{ transform: `translateX(${100 / SLOTS}%)` }, { transform: "none" }], {
      duration: 500,
      easing: "cubic-bezier(0.2, 0.7, 0.2, 1)",
    });
  }
}

export class View {
  #rows = new Map(); // container's key → its row

  constructor() {
    for (let slot = 0; slot < SLOTS; slot++) {
      byId("timeline").append(element("li", ""));
    }
    byId("fallback").remove();
    byId("live").hidden = false;
    byId("state").hidden = false;
  }

  announce(text) {
    byId("announcement").textContent = text;
  }

  state(state, text) {
    byId("state").dataset.state = state;
    setText(byId("state-text"), text);
  }

  // draw shows the model as it is after an answer or a failure.
  draw(model) {
    this.#timeline(model);
    this.#legend(model);
    this.#health(model);
    if (model.latest) {
      const { answer, latency } = model.latest;
      byId("hostname").replaceChildren(...hostname(answer.hostname));
      setText(byId("ip"), answer.ip);
      setText(byId("latency"), milliseconds(latency));
      setText(byId("requests"), Number.isFinite(answer.requests) ? answer.requests.toLocaleString() : "–");
      byId("version").replaceChildren(this.#version(model, answer.version));
      setText(byId("mode"), model.streamed ? "streams of events" : "one request every two seconds");
    }
    this.tick(model);
    this.#lanes(model);
  }

  // tick brings up to date what changes with time alone.
  tick(model) {
    const now = Date.now();
    const offline = model.offlineSince !== undefined;
    byId("offline").hidden = !offline;
    byId("live").classList.toggle("stale", offline);
    if (offline) {
      setText(byId("offline-for"), duration(now - model.offlineSince));
      setText(byId("offline-since"), clock(model.offlineSince));
      byId("offline-since").dateTime = new Date(model.offlineSince).toISOString();
      setText(byId("offline-error"), model.error);
      setText(byId("offline-next"), model.nextAt ? `Next try in ${duration(model.nextAt - now)}.` : "Trying…");
      document.title = "OFFLINE – Slipway";
    } else if (model.latest) {
      const { answer } = model.latest;
      document.title = `${split(answer.hostname)[0]} · ${shorten(answer.version)} – Slipway`;
    }
    if (model.latest) {
      setText(byId("eyebrow"), offline ? `Last answered by, at ${clock(model.latest.at)}` : "Answered by");
      const started = Date.parse(model.latest.answer.started_at);
      setText(byId("uptime"), Number.isNaN(started) ? "–" : duration((offline ? model.latest.at : now) - started));
    }
    const first = model.history.at(-SLOTS);
    setText(byId("oldest"), first ? ago(now - first.at) : "");
    this.#containers(model, now);
  }

  #version(model, version) {
    const chip = element("span", "version");
    chip.dataset.tone = model.tone(version) % TONES;
    chip.title = version;
    chip.append(element("span", "", shorten(version)));
    return chip;
  }

  #timeline(model) {
    const { at, version, latency, hostname } = model.history.at(-1);
    const bar = element("li", version === undefined ? "failed" : "");
    if (version === undefined) {
      bar.title = `${clock(at)}: failed`;
    } else {
      bar.dataset.tone = model.tone(version) % TONES;
      bar.title = `${clock(at)}: ${hostname}, ${shorten(version)}, ${milliseconds(latency)}`;
      bar.style.setProperty("--height", height(latency));
    }
    byId("timeline").firstElementChild.remove();
    byId("timeline").append(bar);
    glide(byId("timeline"));
  }

  // lanes marks for each container which of the answers were its own.
  #lanes(model) {
    const recent = model.history.slice(-SLOTS);
    const offset = SLOTS - recent.length;
    const own = new Map();
    recent.forEach(({ key }, n) => {
      if (key !== undefined) {
        own.set(key, [...(own.get(key) ?? []), n + offset]);
      }
    });
    for (const [key, row] of this.#rows) {
      row.path.setAttribute("d", cells(own.get(key) ?? []));
      glide(row.path);
    }
  }

  #health(model) {
    const answered = model.history.filter((entry) => entry.key !== undefined).length;
    setText(byId("health"), `${answered} of ${model.history.length} answered`);
    const { outage } = model;
    let text = `No error since this page was opened at ${clock(model.openedAt)}.`;
    if (model.offlineSince !== undefined) {
      text = `Last error at ${clock(model.history.at(-1).at)}: ${model.error}`;
    } else if (outage) {
      text = `Last error: ${clock(outage.from)} to ${clock(outage.until)}, for ${duration(outage.until - outage.from)}. ${outage.error}`;
    }
    setText(byId("last-error"), text);
  }

  #legend(model) {
    const recent = model.history.slice(-SLOTS);
    const answers = recent.filter((entry) => entry.version !== undefined);
    const failures = recent.length - answers.length;
    const versions = new Map();
    for (const { version } of answers) {
      versions.set(version, (versions.get(version) ?? 0) + 1);
    }
    const items = [...versions]
      .sort(([a], [b]) => model.tone(a) - model.tone(b))
      .map(([version, count]) => {
        const item = element("li", "");
        item.append(this.#version(model, version), element("b", "", `${Math.round((100 * count) / recent.length)} %`));
        return item;
      });
    if (failures > 0) {
      items.push(element("li", "failed", `${failures} failed`));
    }
    byId("legend").replaceChildren(...items);

    const sorted = answers.map((entry) => entry.latency).sort((a, b) => a - b);
    setText(
      byId("timeline-summary"),
      sorted.length === 0
        ? ""
        : `${milliseconds(sorted[sorted.length >> 1])} median, ${milliseconds(sorted.at(-1))} slowest`,
    );
  }

  #containers(model, now) {
    const asOf = model.offlineSince ?? now; // nobody leaves while nobody can be asked
    const all = [...model.containers.values()].reduce((sum, container) => sum + container.count, 0);
    let present = 0;
    for (const [key, container] of model.containers) {
      const row = this.#row(model, key, container);
      const gone = asOf - container.seenAt > GONE_AFTER;
      present += gone ? 0 : 1;
      row.node.classList.toggle("gone", gone);
      setText(row.count, `${plural(container.count, "answer")} · ${Math.round((100 * container.count) / all)} %`);
      setText(row.seen, `${gone ? "gone, " : ""}seen ${ago(now - container.seenAt)}`);
      row.fill.style.setProperty("--share", `${((100 * container.count) / all).toFixed(1)}%`);
    }
    for (const [key, row] of this.#rows) {
      if (!model.containers.has(key)) {
        row.node.remove();
        this.#rows.delete(key);
      }
    }
    const summary = model.offlineSince === undefined ? `${present} answering` : `${present} answered until then`;
    setText(byId("containers-summary"), model.containers.size === 0 ? "None has answered yet." : summary);
  }

  #row(model, key, container) {
    const known = this.#rows.get(key);
    if (known) {
      return known;
    }
    const node = element("li", "");
    node.dataset.tone = model.tone(container.version) % TONES;
    const bar = element("div", "bar");
    const { svg, path } = lane();
    const row = { node, path, count: element("span", "count"), seen: element("span", "seen quiet"), fill: element("i", "") };
    bar.append(svg, row.fill);
    bar.setAttribute("aria-hidden", "true");
    const about = element("span", "quiet");
    about.append(this.#version(model, container.version), ` · ${container.ip}`);
    const name = element("span", "name");
    name.title = container.hostname;
    name.append(...hostname(container.hostname));
    node.append(name, row.count, bar, about, row.seen);
    byId("containers").prepend(node); // the newest first, and then never moved
    this.#rows.set(key, row);
    return row;
  }
}
