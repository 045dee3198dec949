// Draws the model into the page. It sets only text and style properties, never HTML, so
// that the strictest content security policy can be used.

const TONES = 6; // colours defined in style.css
const SLOTS = 60; // responses on the timeline; index.html draws those of a container 4 units apart
const GONE_AFTER = 20000; // ms without a response until a container counts as gone
const still = matchMedia("(prefers-reduced-motion: reduce)");

const byId = (id) => document.getElementById(id);

// stamp copies a template of index.html.
const stamp = (name) => byId(`${name}-template`).content.cloneNode(true);

function element(name, className, text = "") {
  const node = document.createElement(name);
  node.className = className;
  node.textContent = text;
  return node;
}

// setText changes the page only if the text differs.
function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

const UNITS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];
const inUnit = (unit, digits = 0) =>
  new Intl.NumberFormat("en", { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: digits }).format;
const inUnits = UNITS.map(([unit]) => inUnit(unit));
const roughly = inUnit("millisecond");
const exactly = inUnit("millisecond", 1);
const milliseconds = (value) => (value < 10 ? exactly(value) : roughly(value));
const number = new Intl.NumberFormat("en").format;
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" }).format;

// largest returns the index of the largest unit that fits into the seconds.
const largest = (seconds) => UNITS.findIndex(([, size]) => seconds >= size || size === 1);

// duration formats a time in two units.
function duration(elapsed) {
  let seconds = Math.max(0, Math.round(elapsed / 1000));
  const first = largest(seconds);
  return UNITS.slice(first, first + 2)
    .map(([, size], n) => {
      const count = Math.floor(seconds / size);
      seconds %= size;
      return inUnits[first + n](count);
    })
    .join(" ");
}

// ago formats a past time in one unit, where a rough value is enough.
function ago(elapsed) {
  const seconds = elapsed < 3000 ? 0 : Math.round(elapsed / 1000);
  const [unit, size] = UNITS[largest(seconds)];
  return relative.format(-Math.floor(seconds / size), unit);
}

// split splits a hostname into its first label and its domain.
function split(hostname) {
  const dot = hostname.indexOf(".");
  return dot > 0 && /[a-z]/i.test(hostname) ? [hostname.slice(0, dot), hostname.slice(dot)] : [hostname, ""];
}

// hostname returns a hostname that may wrap only before its domain.
function hostname(text) {
  const copy = stamp("hostname");
  [copy.firstElementChild.textContent, copy.lastElementChild.textContent] = split(text);
  return copy;
}

// shorten abbreviates a commit id to its usual length.
export const shorten = (version) => (/^[0-9a-f]{40}$/.test(version) ? version.slice(0, 7) : version);

// height maps a latency to a bar height, logarithmically: 1 ms is low, 1 s is full.
const height = (latency) => `${Math.min(100, 8 + (92 * Math.log1p(latency)) / Math.log1p(1000)).toFixed(1)}%`;

// cells returns the SVG path of the cells with the given numbers.
const cells = (numbers) => numbers.map((n) => `M${n * 4} 0h3v10h-3z`).join("");

// glide animates a shift by one slot.
function glide(node) {
  if (!still.matches) {
    node.animate([{ transform: `translateX(${100 / SLOTS}%)` }, { transform: "none" }], {
      duration: 500,
      easing: "cubic-bezier(0.2, 0.7, 0.2, 1)",
    });
  }
}

export class View {
  #rows = new Map(); // row by container key

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

  // draw draws the model after a response or a failure.
  draw(model) {
    this.#timeline(model);
    this.#legend(model);
    this.#health(model);
    if (model.latest) {
      const { answer, latency } = model.latest;
      byId("hostname").replaceChildren(hostname(answer.hostname));
      setText(byId("ip"), answer.ip);
      setText(byId("latency"), milliseconds(latency));
      setText(byId("requests"), Number.isFinite(answer.requests) ? number(answer.requests) : "–");
      const { environment } = answer;
      byId("environment-fact").hidden = !environment;
      setText(byId("environment"), environment ? String(environment) : "");
      byId("version").replaceChildren(this.#version(model, answer.version));
    }
    this.tick(model);
    this.#lanes(model);
  }

  // tick updates what changes with time alone.
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
      const environment = answer.environment ? `${answer.environment} · ` : "";
      document.title = `${environment}${split(answer.hostname)[0]} · ${shorten(answer.version)} – Slipway`;
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
    const chip = stamp("version").firstElementChild;
    chip.dataset.tone = model.tone(version) % TONES;
    chip.title = version;
    chip.firstElementChild.textContent = shorten(version);
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

  // lanes marks, for each container, the responses that came from it.
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
    const asOf = model.offlineSince ?? now; // no container counts as gone while requests fail
    const all = [...model.containers.values()].reduce((sum, container) => sum + container.count, 0);
    let present = 0;
    for (const [key, container] of model.containers) {
      const row = this.#row(model, key, container);
      const gone = asOf - container.seenAt > GONE_AFTER;
      present += gone ? 0 : 1;
      row.node.classList.toggle("gone", gone);
      const answers = container.count === 1 ? "1 answer" : `${number(container.count)} answers`;
      setText(row.count, `${answers} · ${Math.round((100 * container.count) / all)} %`);
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
    const node = stamp("container").firstElementChild;
    const part = (selector) => node.querySelector(selector);
    node.dataset.tone = model.tone(container.version) % TONES;
    part(".name").title = container.hostname;
    part(".name").append(hostname(container.hostname));
    part(".about").append(this.#version(model, container.version), ` · ${container.ip}`);
    const row = { node, path: part("path"), count: part(".count"), seen: part(".seen"), fill: part("i") };
    byId("containers").prepend(node); // newest first; rows never move afterwards
    this.#rows.set(key, row);
    return row;
  }
}
