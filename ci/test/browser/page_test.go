package browser

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// Versions as a release names them, and as the page shows them.
const (
	oldVersion = "7c1f09a5d2e84b3690ab7c1f09a5d2e84b3690ab"
	newVersion = "4d91040c9a3e5f6071829304a5b6c7d8e9f00112"
	oldShort   = "7c1f09a"
	newShort   = "4d91040"
)

// weightLimit is the maximum uncompressed size of all files of the page, in bytes.
const weightLimit = 60 << 10

// pair starts two backends of one version.
func pair(t testing.TB, version string, numbers ...int) []*backend {
	t.Helper()
	var backends []*backend
	for _, n := range numbers {
		backends = append(backends, startBackend(t, fmt.Sprintf("ip-10-0-%d-%d.ec2.internal", 9+n, 17*n), version))
	}
	return backends
}

const live = `text("state-text") === "LIVE"`

// answering returns an expression: the page shows a version as that of the last
// response.
func answering(short string) string {
	return fmt.Sprintf(`text("version") === %q && !id("live").classList.contains("stale")`, short)
}

func containers(n int) string {
	return fmt.Sprintf(`document.querySelectorAll("#containers > li").length === %d`, n)
}

func TestPageShowsWhoAnswers(t *testing.T) {
	findChromium(t)
	d := newLoadBalancer(t, StartNginx(t), pair(t, oldVersion, 1, 2)...)
	page := Open(t, Desktop, d.url)
	page.Await(live)
	page.Await(answering(oldShort))
	page.Await(containers(2))
	page.Await(`document.querySelectorAll("#timeline [data-tone]").length > 6`)
	require.Contains(t, evaluate[string](page, `document.title`), oldShort+" – Slipway")
	require.Regexp(t, `^\d+(\.\d)? ms$`, evaluate[string](page, `document.getElementById("latency").textContent`))
	require.Regexp(t, `^(\d+) of (\d+) answered$`, evaluate[string](page, `document.getElementById("health").textContent`))
	require.Contains(t, evaluate[string](page, `document.getElementById("last-error").textContent`), "No error since")
	require.Equal(t, "Online. ", evaluate[string](page, `document.getElementById("announcement").textContent.slice(0, 8)`))
	require.Empty(t, page.said())

	// Each bar is a request, and the next one follows two seconds later.
	bars := evaluate[int](page, `document.querySelectorAll("#timeline [data-tone]").length`)
	waits := evaluate[[]float64](page, `waits`)
	require.GreaterOrEqual(t, len(waits), bars-1)
	for _, wait := range waits {
		require.LessOrEqual(t, wait, 2000.0)
	}
	require.GreaterOrEqual(t, page.asked(d.url+"/api/"), bars)
	require.Equal(t, 1, d.mostConcurrent(), "requests never overlap")
}

// TestPageShowsRelease replaces the containers of the old version one by one while the
// page is open.
func TestPageShowsRelease(t *testing.T) {
	findChromium(t)
	former := pair(t, oldVersion, 1, 2)
	d := newLoadBalancer(t, StartNginx(t), former...)
	page := Open(t, Desktop, d.url)
	page.Await(containers(2))
	later := pair(t, newVersion, 3, 4)
	d.setBackends(former[1], later[0])
	page.Await(answering(newShort))
	page.Await(answering(oldShort))
	require.Contains(t, evaluate[string](page, `document.getElementById("announcement").textContent`), "A new version answers: "+newShort)
	page.Await(`document.querySelectorAll("#legend li").length === 2`)
	d.setBackends(later...)
	former[0].Close()
	former[1].Close()
	page.Await(containers(4))
	page.Await(answering(newShort))
	require.Equal(t, []string{"0", "1"}, evaluate[[]string](page, `[...new Set([...document.querySelectorAll("#timeline [data-tone]")].map((bar) => bar.dataset.tone))].sort()`))
	require.Zero(t, evaluate[int](page, `document.querySelectorAll("#timeline .failed").length`), "nobody was left without an answer")
	require.Empty(t, page.said())
	page.screenshot("release")
}

func TestPageOfflineAndBack(t *testing.T) {
	findChromium(t)
	address := FreeAddress(t)
	only := startBackendAt(t, address, "ip-10-0-10-7.ec2.internal", oldVersion)
	d := newLoadBalancer(t, StartNginx(t), only)
	page := Open(t, Desktop, d.url)
	page.Await(live)
	only.Close()
	page.Await(`text("state-text") === "OFFLINE"`)
	page.Await(`!id("offline").hidden && /^Next try in \d+ sec\.$/.test(text("offline-next"))`)
	require.Equal(t, "The service answered with status 502.", evaluate[string](page, `document.getElementById("offline-error").textContent`))
	require.Regexp(t, `^\d+ sec$`, evaluate[string](page, `document.getElementById("offline-for").textContent`))
	since := evaluate[string](page, `document.getElementById("offline-since").dateTime`)
	require.NotEmpty(t, since)
	require.Equal(t, "OFFLINE – Slipway", evaluate[string](page, `document.title`))
	require.Contains(t, evaluate[string](page, `document.getElementById("announcement").textContent`), "Offline. ")
	page.Await(`document.querySelectorAll("#timeline .failed").length >= 2`)
	require.Equal(t, since, evaluate[string](page, `document.getElementById("offline-since").dateTime`), "since the first failure")
	require.Subset(t, evaluate[[]float64](page, `waits`), []float64{2000, 4000}, "it asks less often")
	page.screenshot("offline")

	startBackendAt(t, address, "ip-10-0-10-7.ec2.internal", newVersion)
	// One expression, because the page also polls by itself and disables the button
	// meanwhile.
	page.Await(`id("offline").hidden || (!id("retry").disabled && (id("retry").focus(), document.activeElement === id("retry")))`)
	page.do(chromedp.KeyEvent(kb.Enter))
	page.Await(live)
	page.Await(answering(newShort))
	require.True(t, evaluate[bool](page, `document.getElementById("offline").hidden`))
	require.Regexp(t, `^Last error: .+ to .+, for \d+ sec\. The service answered with status 502\.$`, evaluate[string](page, `document.getElementById("last-error").textContent`))
	require.Contains(t, evaluate[string](page, `document.getElementById("announcement").textContent`), "Online again. ")
	// The browser reports HTTP errors itself; scripts must report none.
	require.Empty(t, page.said("/api/"))
}

// TestPageTimeout uses an API that accepts requests and never responds.
func TestPageTimeout(t *testing.T) {
	findChromium(t)
	d := newLoadBalancer(t, StartNginx(t), pair(t, oldVersion, 1)...)
	d.block()
	v := Desktop
	v.impatient = true
	page := Open(t, v, d.url)
	page.Await(`text("offline-error") === "No answer within 3 seconds."`)
	page.Await(`document.querySelectorAll("#timeline .failed").length >= 2`)
	require.Equal(t, []float64{3000}, evaluate[[]float64](page, `[...new Set(timeouts)]`))
	d.unblock()
	page.Await(live)
	require.Equal(t, 1, d.mostConcurrent(), "requests never overlap")
}

func TestPageDoesNotBelieveEverything(t *testing.T) {
	findChromium(t)
	server := StartNginx(t, `
location = /api/ { default_type application/json; return 200 '{"hostname":"<img src=x onerror=alert(1)>","ip":"","status":"active"}'; }`)
	page := Open(t, Desktop, server.URL)
	page.Await(`text("offline-error") === "The answer has no ip."`)
	require.Zero(t, evaluate[int](page, `document.querySelectorAll("main img").length`))

	server = StartNginx(t, `
location = /api/ { default_type application/json; return 200 '{"hostname":"<img src=x onerror=alert(1)>","ip":"192.0.2.1","status":"draining","version":"<b>","environment":"<i>"}'; }`)
	page.do(chromedp.Navigate(server.URL))
	page.Await(`text("hostname") === "<img src=x onerror=alert(1)>"`)
	page.Await(`text("state-text") === "draining"`)
	page.Await(`text("environment") === "<i>" && !id("environment-fact").hidden && document.title.startsWith("<i> · ")`)
	require.Zero(t, evaluate[int](page, `document.querySelectorAll("main img").length`))

	server = StartNginx(t, `location ^~ /api { default_type text/html; return 200 'ok'; }`)
	page.do(chromedp.Navigate(server.URL))
	page.Await(`text("offline-error") === "The answer is not JSON."`)
}

// TestPageWeight measures the size of a first visit.
func TestPageWeight(t *testing.T) {
	findChromium(t)
	d := newLoadBalancer(t, StartNginx(t), pair(t, oldVersion, 1)...)
	page := Open(t, Desktop, d.url)
	page.Await(live)
	page.Await(`id("environment-fact").hidden`)
	page.mu.Lock()
	defer page.mu.Unlock()
	// The browser requests the icon of the tab at any time.
	const icon = "/favicon.svg"
	paths, icons := []string{icon}, 0
	for _, request := range page.requests {
		path, own := strings.CutPrefix(request.Request.URL, d.url)
		require.True(t, own, "a request to somebody else: %s", request.Request.URL)
		switch {
		case strings.HasPrefix(path, "/api"):
		case path == icon:
			icons++
			require.Equal(t, 1, icons, "the icon is asked for twice")
		default:
			require.NotContains(t, paths, path, "asked for twice")
			paths = append(paths, path)
			if path != "/" {
				require.Equal(t, d.url+"/", request.Initiator.URL, "%s is not asked for in the first round", path)
			}
		}
	}
	total, packed := 0, 0
	for _, path := range paths {
		_, body := ask(t, "GET", d.url+path)
		total += len(body)
		_, body = ask(t, "GET", d.url+path, "Accept-Encoding: gzip")
		packed += len(body)
	}
	t.Logf("%d requests, %d bytes, %d compressed: %s", len(paths), total, packed, paths)
	require.Subset(t, paths, []string{"/", "/style.css", "/app.js"})
	require.LessOrEqual(t, len(paths), 9)
	require.Less(t, total, weightLimit)
}

// TestPageStaysInPlace measures layout shifts while the first responses arrive.
func TestPageStaysInPlace(t *testing.T) {
	findChromium(t)
	d := newLoadBalancer(t, StartNginx(t), pair(t, oldVersion, 1)...)
	page := Open(t, Desktop, d.url)
	page.Await(`document.querySelectorAll("#timeline [data-tone]").length > 3`)
	shift := evaluate[float64](page, `new Promise((resolve) => {
		let sum = 0;
		new PerformanceObserver((list) => list.getEntries().forEach((entry) => { sum += entry.value; })).observe({ type: "layout-shift", buffered: true });
		requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => resolve(sum))));
	})`)
	paint := evaluate[float64](page, `performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? -1`)
	t.Logf("layout shift %.4f, first contentful paint after %.0f ms", shift, paint)
	require.Less(t, shift, 0.1, "good is below 0.1: https://web.dev/articles/cls")
	require.Positive(t, paint)
}

func TestPageNoticesViolations(t *testing.T) {
	findChromium(t)
	page := Open(t, Desktop, StartNginx(t).URL+"/nosuch")
	require.Equal(t, "Not found – Slipway", evaluate[string](page, `document.title`))
	for _, problem := range page.said() {
		require.Contains(t, problem, "404", "nothing else is wrong with it")
	}
	evaluate[bool](page, `(document.head.append(Object.assign(document.createElement("style"), { textContent: "p{}" })), true)`)
	require.Contains(t, strings.Join(page.said(), "\n"), "Content Security Policy", "these tests would see a violation")
	require.Contains(t, evaluate[string](page, `(() => { try { document.body.innerHTML = "<p>"; return "done"; } catch (error) { return error.message; } })()`), "TrustedHTML")
}

func TestPageWithoutScript(t *testing.T) {
	findChromium(t)
	v := Desktop
	v.scriptless = true
	page := Open(t, v, StartNginx(t).URL)
	page.do(chromedp.WaitVisible("#fallback a[href='/api/']"))
	page.screenshot("without-script")

	// It must not wait either if the script cannot be loaded.
	server := StartNginx(t, "location = /app.js { return 403; }")
	page = Open(t, Desktop, server.URL)
	page.do(chromedp.WaitVisible("#fallback a[href='/api/']"))
}

func TestPageByKeyboard(t *testing.T) {
	findChromium(t)
	d := newLoadBalancer(t, StartNginx(t), pair(t, oldVersion, 1)...)
	page := Open(t, Desktop, d.url)
	page.Await(live)
	page.do(chromedp.KeyEvent(kb.Tab))
	require.Equal(t, "Skip to content", evaluate[string](page, `document.activeElement.textContent`))
	require.True(t, evaluate[bool](page, `document.activeElement.getBoundingClientRect().top >= 0`), "it is seen while it has the focus")
	page.do(chromedp.KeyEvent(kb.Enter))
	require.Equal(t, "main", evaluate[string](page, `document.activeElement.id`))
	page.do(chromedp.KeyEvent(kb.Tab))
	require.Equal(t, "/api/", evaluate[string](page, `document.activeElement.getAttribute("href")`))
	require.NotEqual(t, "none", evaluate[string](page, `getComputedStyle(document.activeElement).outlineStyle`))
}

// looks are the views in which tests check the whole page.
var looks = map[string]view{
	"light":       {width: 1280, height: 960, scale: 1},
	"dark":        {width: 1280, height: 960, scale: 1, dark: true},
	"phone":       {width: 390, height: 844, scale: 2},
	"phone-dark":  {width: 390, height: 844, scale: 2, dark: true},
	"small-phone": {width: 320, height: 568, scale: 2, still: true},
}

func TestPageLooks(t *testing.T) {
	findChromium(t)
	former, later := pair(t, oldVersion, 1, 2), pair(t, newVersion, 3, 4)
	server := StartNginx(t)
	for name, v := range looks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v.speed = 100
			d := newLoadBalancer(t, server, former...)
			page := Open(t, v, d.url)
			page.Await(containers(2))
			d.setBackends(former[0], later[0])
			page.Await(`document.querySelectorAll("#timeline [data-tone='1']").length >= 3`)
			d.setBackends(later...)
			page.Await(containers(4))
			page.Await(`document.querySelectorAll("#timeline [data-tone]").length >= 36`)
			require.LessOrEqual(t, evaluate[int](page, `document.documentElement.scrollWidth`), int(v.width), "nothing is wider than the screen")
			require.Empty(t, accessibility(page))
			if v.still {
				require.Zero(t, evaluate[int](page, `document.getAnimations().filter((a) => a.playState === "running").length`))
			}
			page.screenshot(name)

			d.setBackends()
			page.Await(`text("state-text") === "OFFLINE"`)
			require.LessOrEqual(t, evaluate[int](page, `document.documentElement.scrollWidth`), int(v.width))
			require.Empty(t, accessibility(page))
			page.screenshot(name + "-offline")
			require.Empty(t, page.said("/api"))

			page.do(chromedp.Navigate(d.url + "/nosuch"))
			require.Empty(t, accessibility(page))
			page.screenshot(name + "-404")
		})
	}
}

// accessibility runs axe-core with its rules for WCAG 2.2 AA and best practices. Each
// finding names its elements.
func accessibility(p *Tab) []string {
	p.t.Helper()
	axe, err := os.ReadFile(filepath.Join("testdata", "axe-core", "axe.min.js"))
	require.NoError(p.t, err)
	evaluate[bool](p, string(axe)+"; true")
	text := evaluate[string](p, `axe.run(document, { resultTypes: ["violations", "passes"] }).then(({ violations, passes }) => JSON.stringify({
		passes: passes.length,
		violations: violations.map(({ id, help, nodes }) => id + ": " + help + ": " + nodes.map((node) => node.target.join(" ") + " (" + node.failureSummary + ")").join(", ")),
	}))`)
	var result struct {
		Passes     int
		Violations []string
	}
	require.NoError(p.t, json.Unmarshal([]byte(text), &result))
	require.Greater(p.t, result.Passes, 5, "axe has looked at nothing")
	p.t.Logf("axe: %d rules passed, %d violated", result.Passes, len(result.Violations))
	return result.Violations
}
