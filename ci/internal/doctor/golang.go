package doctor

import (
	"context"
	goversion "go/version"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"dagger/slipway/internal/step"
	"dagger/slipway/internal/tool"
)

// Go is the Go toolchain, held against what the tree asks for.
type Go struct {
	Program
	// Dir is the root of the source tree.
	Dir string
}

// Look asks go for its version. One that is older than the tree's fetches the
// tree's by itself, unless it was told not to.
func (g Go) Look(ctx context.Context) Finding {
	version, found := g.ask(ctx)
	if found.State != OK {
		return found
	}
	wanted := g.wanted()
	if wanted != "" && goversion.Compare("go"+version, "go"+wanted) < 0 {
		return limited("install Go "+wanted+" from https://go.dev/dl", "%s, and the tree asks for %s, which go fetches (GOTOOLCHAIN) where there is a network", version, wanted)
	}
	return ok("%s", version)
}

// wanted is the least version that the tree's modules ask for; "" for no tree.
func (g Go) wanted() string {
	wanted := ""
	take := func(line *modfile.Go) {
		if line != nil && goversion.Compare("go"+line.Version, "go"+wanted) > 0 {
			wanted = line.Version
		}
	}
	if data, err := os.ReadFile(filepath.Join(g.Dir, "go.work")); err == nil {
		if work, err := modfile.ParseWork("go.work", data, nil); err == nil {
			take(work.Go)
		}
	}
	if data, err := os.ReadFile(filepath.Join(g.Dir, "ci", "go.mod")); err == nil {
		if file, err := modfile.ParseLax("go.mod", data, nil); err == nil {
			take(file.Go)
		}
	}
	return wanted
}

// Compiler is what the race detector needs.
type Compiler struct {
	// Supported tells whether the race detector works here, and else why not and
	// how to mend that.
	Supported func(ctx context.Context) (supported bool, reason string)
}

// Name fits Probe.
func (Compiler) Name() string { return "compiler" }

// Look asks go for its C compiler.
func (c Compiler) Look(ctx context.Context) Finding {
	if supported, reason := c.Supported(ctx); !supported {
		return missing("", "%s", reason)
	}
	return ok("the race detector works")
}

// Tools are those that Go compiles when they are first run.
type Tools struct {
	All  []tool.Tool
	Exec step.Executor
}

// Name fits Probe.
func (Tools) Name() string { return "tools" }

// Look tells which tools the module cache holds.
func (t Tools) Look(ctx context.Context) Finding {
	text, exit, err := said(ctx, t.Exec, "go", "env", "GOMODCACHE")
	if err != nil || exit != 0 {
		return missing("install Go from https://go.dev/dl", "go, which compiles them, does not tell where it keeps modules")
	}
	var kept, absent []string
	for _, one := range t.All {
		label := one.Name + " " + one.Version
		if inModuleCache(strings.TrimSpace(text), one) {
			kept = append(kept, label)
		} else {
			absent = append(absent, label)
		}
	}
	if len(absent) > 0 {
		return limited("run slipway lint once where there is a network", "not fetched yet: %s", strings.Join(absent, ", "))
	}
	return ok("%s", strings.Join(kept, ", "))
}

// inModuleCache tells whether a tool's module was downloaded. The module's path is
// a beginning of its package's.
// https://go.dev/ref/mod#module-cache
func inModuleCache(cache string, t tool.Tool) bool {
	version, err := module.EscapeVersion(t.Version)
	if err != nil {
		return false
	}
	for at := t.Package; at != "." && at != "/"; at = path.Dir(at) {
		escaped, err := module.EscapePath(at)
		if err != nil {
			return false
		}
		if _, err := os.Stat(filepath.Join(cache, "cache", "download", filepath.FromSlash(escaped), "@v", version+".zip")); err == nil {
			return true
		}
	}
	return false
}
