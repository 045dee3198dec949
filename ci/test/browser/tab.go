package browser

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	protocol "github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// awaitLimit is the time limit of each wait for a change in the page.
const awaitLimit = time.Minute

// chromium is the browser shared by all tests; each page has a profile of its own.
var chromium struct {
	once    sync.Once
	context context.Context
	stop    []context.CancelFunc
	err     error
}

func findChromium(t testing.TB) string {
	t.Helper()
	path, err := find()
	if err != nil {
		t.Skip(err)
	}
	return path
}

func startChromium(t testing.TB) context.Context {
	t.Helper()
	path := findChromium(t)
	chromium.once.Do(func() {
		allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options(path)...)
		instance, stopBrowser := chromedp.NewContext(allocator)
		chromium.context, chromium.stop = instance, []context.CancelFunc{stopBrowser, stopAllocator}
		chromium.err = chromedp.Do(instance)
	})
	require.NoError(t, chromium.err)
	return chromium.context
}

// StopChromium stops the browser, if a test started it.
func StopChromium() {
	for _, stop := range chromium.stop {
		stop()
	}
}

// Tab is an open page and the problems that the browser reported.
type Tab struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex
	problems []string // of scripts, console, content security policy and network
	requests []*network.EventRequestWillBeSent
}

// view is a viewport with the preferences of a user.
type view struct {
	width, height int64
	scale         float64
	dark, still   bool
	scriptless    bool
	speed         int  // of the page's timers; 0 means 20
	impatient     bool // the page's requests time out after a tenth of the time
}

// Desktop is the view of a user without preferences.
var Desktop = view{width: 1280, height: 960, scale: 1}

// hurry shortens the page's timers and the time limits of its requests by factors, and
// records the requested ones.
const hurry = `{
	const wait = setTimeout, limit = AbortSignal.timeout.bind(AbortSignal);
	Object.assign(globalThis, { waits: [], timeouts: [] });
	globalThis.setTimeout = (task, milliseconds) => {
		waits.push(milliseconds);
		return wait(task, milliseconds / %d);
	};
	AbortSignal.timeout = (milliseconds) => {
		timeouts.push(milliseconds);
		return limit(milliseconds / %d);
	};
}`

// Open opens a page.
func Open(t testing.TB, v view, address string) *Tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(startChromium(t), chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	page := &Tab{t: t, ctx: ctx}
	require.NoError(t, chromedp.Listen(ctx, page.hear))
	speed, patience := cmp.Or(v.speed, 20), 1
	if v.impatient {
		patience = 10
	}
	scheme, motion := "light", "no-preference"
	if v.dark {
		scheme = "dark"
	}
	if v.still {
		motion = "reduce"
	}
	call(page, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: fmt.Sprintf(hurry, speed, patience)})
	call(page, log.Enable, protocol.Empty{})
	call(page, network.Enable, network.EnableParams{})
	call(page, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: v.width, Height: v.height, DeviceScaleFactor: v.scale, Mobile: v.width < 500,
	})
	call(page, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: motion},
	}})
	call(page, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: v.scriptless})
	page.do(chromedp.Navigate(address))
	return page
}

func (p *Tab) hear(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		p.problems = append(p.problems, strings.TrimSpace(e.ExceptionDetails.Text+" "+e.ExceptionDetails.Exception.Description))
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			p.problems = append(p.problems, fmt.Sprintf("console: %s %v", e.Type, e.Args))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			p.problems = append(p.problems, fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e)
	}
}

// asked returns how often the page has requested an address.
func (p *Tab) asked(address string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	count := 0
	for _, request := range p.requests {
		if request.Request.URL == address {
			count++
		}
	}
	return count
}

// call runs a command of the DevTools protocol.
func call[P, R any](p *Tab, command protocol.Command[P, R], params P) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, awaitLimit)
	defer cancel()
	_, err := chromedp.Call(ctx, command, params)
	require.NoError(p.t, err)
}

// do runs actions in the page.
func (p *Tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, awaitLimit)
	defer cancel()
	require.NoError(p.t, chromedp.Do(ctx, steps...), "problems: %s", strings.Join(p.said(), "\n"))
}

// evaluate returns the value of an expression in the page.
func evaluate[T any](p *Tab, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, awaitLimit)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(p.t, err, expression[:min(len(expression), 200)])
	return value
}

// Await waits until an expression is true in the page, and evaluates it at each change
// of the page.
func (p *Tab) Await(expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, awaitLimit)
	defer cancel()
	_, err := chromedp.Run(ctx, chromedp.Evaluate[bool](fmt.Sprintf(`new Promise((resolve) => {
		const id = (name) => document.getElementById(name);
		const text = (name) => id(name).textContent;
		const holds = () => Boolean(%s);
		if (holds()) { resolve(true); return; }
		const observer = new MutationObserver(() => { if (holds()) { observer.disconnect(); resolve(true); } });
		observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
	})`, expression), chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("waiting for %s: %v\nthe page says: %s\nproblems: %s", expression, err, evaluate[string](p, "document.body.innerText"), strings.Join(p.said(), "\n"))
	}
}

// said returns the problems so far, without those that contain one of the given texts.
func (p *Tab) said(but ...string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var problems []string
	for _, problem := range p.problems {
		expected := false
		for _, part := range but {
			expected = expected || strings.Contains(problem, part)
		}
		if !expected {
			problems = append(problems, problem)
		}
	}
	return problems
}

// screenshot saves a screenshot of the page as an artifact of the test, if those are kept.
func (p *Tab) screenshot(name string) {
	p.t.Helper()
	if kept := flag.Lookup("test.artifacts"); kept == nil || kept.Value.String() != "true" {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, awaitLimit)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	require.NoError(p.t, err)
	require.NotEmpty(p.t, picture)
	require.NoError(p.t, os.WriteFile(filepath.Join(p.t.ArtifactDir(), name+".png"), picture, 0o644))
}
