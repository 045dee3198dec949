// Stores what is known about the service, and connects poller and view.

import { Poller } from "./poller.js";
import { View, shorten } from "./view.js";

const HISTORY = 60; // responses kept for the timeline
const CONTAINERS = 20; // containers kept; the one not seen for the longest time is removed first

class Model {
  history = []; // { at, key, hostname, version, latency }, or { at } for a failure
  containers = new Map(); // key → { hostname, ip, version, count, seenAt }
  latest; // { at, answer, latency } of the last response
  openedAt = Date.now();
  offlineSince; // time of the first of the current failures
  error = ""; // reason of the last failure
  outage; // { from, until, error } of the last outage
  nextAt; // time of the next attempt
  #tones = new Map();

  // tone numbers the versions in the order of their first appearance.
  tone(version) {
    if (!this.#tones.has(version)) {
      this.#tones.set(version, this.#tones.size);
    }
    return this.#tones.get(version);
  }

  answered(answer, latency) {
    const at = Date.now();
    const version = String(answer.version || "unknown");
    const news = {
      back: this.offlineSince !== undefined,
      version: this.latest !== undefined && !this.#tones.has(version),
    };
    this.tone(version);
    this.latest = { at, answer: { ...answer, version }, latency };
    if (news.back) {
      this.outage = { from: this.offlineSince, until: at, error: this.error };
      this.offlineSince = undefined;
    }

    // A later container may reuse the hostname.
    const key = JSON.stringify([answer.hostname, version, answer.started_at]);
    this.#remember({ at, key, hostname: answer.hostname, version, latency });
    const container = this.containers.get(key) ?? { hostname: answer.hostname, version, count: 0 };
    Object.assign(container, { ip: answer.ip, seenAt: at, count: container.count + 1 });
    this.containers.set(key, container);
    if (this.containers.size > CONTAINERS) {
      const [oldest] = [...this.containers].reduce((a, b) => (a[1].seenAt <= b[1].seenAt ? a : b));
      this.containers.delete(oldest);
    }
    return news;
  }

  failed(reason) {
    const at = Date.now();
    const news = this.offlineSince === undefined;
    this.offlineSince ??= at;
    this.error = reason;
    this.#remember({ at });
    return news;
  }

  #remember(entry) {
    this.history.push(entry);
    this.history.splice(0, this.history.length - HISTORY);
  }
}

const model = new Model();
const view = new View();
const retry = document.getElementById("retry");

const poller = new Poller("/api/", {
  asking() {
    retry.disabled = true;
    model.nextAt = undefined;
    view.tick(model);
  },
  answered(answer, latency) {
    const first = model.latest === undefined;
    const news = model.answered(answer, latency);
    view.state(answer.status === "active" ? "live" : "other", answer.status === "active" ? "LIVE" : answer.status);
    view.draw(model);
    const version = shorten(model.latest.answer.version);
    if (first || news.back) {
      view.announce(`${first ? "Online" : "Online again"}. ${answer.hostname} answers, version ${version}.`);
    } else if (news.version) {
      view.announce(`A new version answers: ${version}.`);
    }
  },
  failed(reason) {
    const news = model.failed(reason);
    view.state("offline", "OFFLINE");
    view.draw(model);
    if (news) {
      view.announce(`Offline. ${reason}`);
    }
  },
  waiting(milliseconds) {
    retry.disabled = false;
    model.nextAt = Date.now() + milliseconds;
    view.tick(model);
  },
});

retry.addEventListener("click", () => poller.poll());
window.addEventListener("online", () => poller.poll());
document.addEventListener("visibilitychange", () => {
  // Browsers throttle timers of hidden pages; catch up at once.
  if (!document.hidden) {
    poller.poll();
  }
});
setInterval(() => view.tick(model), 1000);
poller.poll();
