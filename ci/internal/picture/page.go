package picture

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"dagger/slipway/internal/browser"
	"dagger/slipway/internal/source"
)

// pageLimit bounds a wait for the page or for the system.
const pageLimit = 2 * time.Minute

// Size of the page, and how many pixels of the picture one of its is.
const (
	pageWidth  = 1100
	pageHeight = 760
	pageScale  = 1.25
)

// Moments of the page. It gives each version a tone, in the order in which they
// appear.
const (
	steady   = `document.querySelectorAll("#timeline [data-tone='0']").length >= 24`
	changing = `document.querySelectorAll("#timeline [data-tone='1']").length >= 8 && document.querySelectorAll("#legend li").length === 2`
)

// page is the page in a browser while a release changes over from the commit to an
// empty one after it.
func (t tree) page(ctx context.Context) (picture []byte, err error) {
	chromium, err := browser.Find()
	if err != nil {
		return nil, err
	}
	system, err := t.keep(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if failed := system.stop(); err == nil {
			err = failed
		}
	}()
	allocator, stopAllocator := chromedp.NewExecAllocator(ctx, browser.Options(chromium)...)
	defer stopAllocator()
	tab, stopTab := chromedp.NewContext(allocator)
	defer stopTab()
	if err := open(tab, system.url); err != nil {
		return nil, fmt.Errorf("opening the page: %w", err)
	}
	if err := await(tab, steady); err != nil {
		return nil, err
	}
	released := make(chan error, 1)
	go func() { released <- t.release(ctx, system.env) }()
	err = await(tab, changing)
	if err == nil {
		picture, err = chromedp.Run(tab, chromedp.CaptureScreenshot())
	}
	if failed := <-released; failed != nil {
		return nil, failed
	}
	return picture, err
}

// open opens an address in a tab, as a person with a bright screen sees it.
func open(tab context.Context, address string) error {
	if err := chromedp.Do(tab); err != nil {
		return err
	}
	_, err := chromedp.Call(tab, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: pageWidth, Height: pageHeight, DeviceScaleFactor: pageScale,
	})
	if err != nil {
		return err
	}
	return chromedp.Do(tab, chromedp.Navigate(address))
}

// await waits until an expression is true of the page. It looks whenever the page
// changes.
func await(tab context.Context, expression string) error {
	ctx, cancel := context.WithTimeout(tab, pageLimit)
	defer cancel()
	_, err := chromedp.Run(ctx, chromedp.Evaluate[bool](fmt.Sprintf(`new Promise((resolve) => {
		const holds = () => Boolean(%s);
		if (holds()) { resolve(true); return; }
		const observer = new MutationObserver(() => { if (holds()) { observer.disconnect(); resolve(true); } });
		observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
	})`, expression), chromedp.EvalAwaitPromise))
	if err != nil {
		return fmt.Errorf("waiting for %s on the page: %w", expression, err)
	}
	return nil
}

// system is a rehearsed system that is up.
type system struct {
	command *exec.Cmd
	url     string
	env     []string // that leads to it
	said    chan string
}

// What rehearse --keep says of the system that it keeps.
var (
	upAt   = regexp.MustCompile(`the system is up at (\S+): `)
	workBy = regexp.MustCompile(`to work with it: export (.+)`)
)

// keep rehearses, and keeps the system up until it is stopped.
func (t tree) keep(ctx context.Context) (*system, error) {
	s := &system{command: exec.Command(t.slipway, "rehearse", "--skip-tests", "--keep"), said: make(chan string, 1)}
	s.command.Dir = t.dir
	narration, err := s.command.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.command.Start(); err != nil {
		return nil, fmt.Errorf("starting the rehearsal: %w", err)
	}
	kill := context.AfterFunc(ctx, func() { _ = s.command.Process.Kill() }) // it may have ended
	defer kill()
	var said strings.Builder
	lines := bufio.NewReader(narration)
	for s.env == nil {
		line, err := lines.ReadString('\n')
		said.WriteString(line)
		if err != nil {
			_ = s.command.Wait() // what it said says more
			return nil, fmt.Errorf("the rehearsal does not stay up: %s", said.String())
		}
		if found := upAt.FindStringSubmatch(line); found != nil {
			s.url = found[1]
		}
		if found := workBy.FindStringSubmatch(line); found != nil {
			s.env = strings.Fields(found[1])
		}
	}
	go func() {
		rest, _ := io.ReadAll(lines) // it ends with the process
		s.said <- string(rest)
	}()
	return s, nil
}

// stop takes the system down.
func (s *system) stop() error {
	if err := s.command.Process.Signal(os.Interrupt); err != nil {
		return fmt.Errorf("stopping the rehearsal: %w", err)
	}
	said := <-s.said
	if err := s.command.Wait(); err != nil {
		return fmt.Errorf("stopping the rehearsal: %w: %s", err, said)
	}
	return nil
}

// release makes a commit and releases it to the system.
func (t tree) release(ctx context.Context, env []string) error {
	_, err := source.Tree{Dir: t.dir}.Git(ctx, "-c", "user.name=Slipway", "-c", "user.email=slipway@example.com", "-c", "commit.gpgsign=false",
		"commit", "--quiet", "--allow-empty", "--message=The next version")
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, t.slipway, "deploy", "--force")
	command.Dir, command.Env = t.dir, append(os.Environ(), env...)
	if said, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("releasing the next version: %w: %s", err, said)
	}
	return nil
}
