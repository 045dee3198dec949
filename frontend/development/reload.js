// Reloads the page when one of its files changes. Development only: Nginx inserts it
// into the page.

const INTERVAL = 1000; // ms
const tags = new Map(); // file → its entity tag

const files = () =>
  [location.pathname, ...performance.getEntriesByType("resource").map((entry) => new URL(entry.name).pathname)].filter(
    (path, n, all) => !path.startsWith("/api/") && all.indexOf(path) === n,
  );

async function changed(path) {
  const response = await fetch(path, { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(3000) });
  // The page itself has no entity tag, because Nginx modifies it; compare its time.
  const tag = response.headers.get("ETag") ?? response.headers.get("Last-Modified");
  const known = tags.get(path);
  tags.set(path, tag);
  return response.ok && known !== undefined && known !== tag;
}

async function look() {
  try {
    const news = await Promise.all(files().map(changed));
    if (news.includes(true)) {
      location.reload();
      return;
    }
  } catch {
    // Nginx is restarting; retry.
  }
  setTimeout(look, INTERVAL);
}

look();
