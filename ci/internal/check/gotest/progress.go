package gotest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"
)

// progressInterval is the interval of progress messages.
const progressInterval = 5 * time.Second

// progress counts the finished packages of a module in the event stream that is written to
// it.
type progress struct {
	module  string
	total   int
	started time.Time
	onStart func() // is called when a package's tests start

	mu   sync.Mutex
	rest []byte // an incomplete line
	done int
}

// Write takes a part of the event stream.
func (p *progress) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest = append(p.rest, data...)
	for {
		line, rest, whole := bytes.Cut(p.rest, []byte("\n"))
		if !whole {
			return len(data), nil
		}
		p.rest = rest
		var e event
		if json.Unmarshal(line, &e) != nil {
			continue
		}
		if e.Action == "start" {
			p.onStart()
		}
		if e.finishesPackage() {
			p.done++
		}
	}
}

// finishesPackage reports whether e is the last event of a package.
func (e event) finishesPackage() bool {
	return e.Package != "" && e.Test == "" && (e.Action == "pass" || e.Action == "fail" || e.Action == "skip")
}

// String returns a progress message.
func (p *progress) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	since := time.Since(p.started).Round(time.Second)
	if p.done == 0 {
		return fmt.Sprintf("%s: compiling, no package of %d tested yet, %s", p.module, p.total, since)
	}
	return fmt.Sprintf("%s: %d of %d packages tested, %s", p.module, p.done, p.total, since)
}

// report calls narrate at every [progressInterval] until stop is called.
func (p *progress) report(narrate func(string)) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	ticker := time.NewTicker(progressInterval)
	go func() {
		defer close(ended)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				narrate(p.String())
			}
		}
	}()
	return func() { close(quit); <-ended }
}

// packages counts the packages that `go test ./...` tests, for progress messages.
func (m module) packages() int {
	seen := map[string]bool{}
	walkPackages(m.tree, m.dir, func(name string) error {
		seen[path.Dir(name)] = true
		return nil
	})
	return len(seen)
}

// walkPackages calls visit for the Go files of the packages that `go test ./...` tests in a
// module, until it returns [fs.SkipAll]: not those of nested modules, vendor, testdata and
// names that begin with a dot or an underscore (go help packages).
func walkPackages(tree fs.FS, module string, visit func(name string) error) {
	_ = fs.WalkDir(tree, module, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // the go command reports what cannot be read
		}
		if d.IsDir() {
			base := path.Base(name)
			_, nested := fs.Stat(tree, path.Join(name, "go.mod"))
			if name != module && (nested == nil || base == "vendor" || base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		return visit(name)
	})
}
