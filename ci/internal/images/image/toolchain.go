package image

import (
	"bytes"
	"cmp"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	goversion "go/version"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// goSettings are the Go settings that a compilation takes from the machine: where
// modules come from and where they are kept. The pipeline sets all others itself,
// because the environment and `go env -w` could change the binary.
var goSettings = []string{
	"GOAUTH", "GOCACHE", "GOINSECURE", "GOMODCACHE", "GONOPROXY", "GONOSUMDB", "GOPRIVATE", "GOPROXY", "GOSUMDB", "GOVCS",
}

// CheckGoSettings checks settings NAME=value of where Go's tools get modules and
// vulnerabilities from.
func CheckGoSettings(settings []string) error {
	known := append(slices.DeleteFunc(slices.Clone(goSettings), func(s string) bool { return strings.HasSuffix(s, "CACHE") }), "GOVULNDB")
	for _, setting := range settings {
		name, _, ok := strings.Cut(setting, "=")
		if !ok || !slices.Contains(known, name) {
			return outcome.Usagef("invalid --go-env %q: want NAME=value with one of %s", setting, strings.Join(known, ", "))
		}
	}
	return nil
}

// toolchain is the Go toolchain that compiles a service.
type toolchain struct {
	// name is its GOTOOLCHAIN value, such as "go1.26.8", or "local".
	name     string
	settings map[string]string
	// requested is the version that the source tree requests; empty if it requests
	// none.
	requested string
	// missing is why the requested version is not used.
	missing string
}

// releasedVersion matches the versions that GOTOOLCHAIN accepts.
var releasedVersion = regexp.MustCompile(`^go1\.\d+(?:\.\d+|rc\d+)$`)

// versionTag matches the version in a reference such as
// "docker.io/library/golang:1.26.8-bookworm".
var versionTag = regexp.MustCompile(`:(1\.\d+\.\d+)(?:[-@]|$)`)

// requestedGo returns the version of Go that the tree requests: that of the locked
// image, or a later one in the service's go.mod.
func (b Builder) requestedGo(service platform.Service) (string, error) {
	requested := ""
	if m := versionTag.FindStringSubmatch(b.Lock.Images["go"].Reference); m != nil {
		requested = "go" + m[1]
	}
	module, err := b.module(service)
	if err != nil {
		return "", err
	}
	later := func(version string) bool {
		return releasedVersion.MatchString(version) && goversion.Compare(version, cmp.Or(requested, "go1")) > 0
	}
	if module.Toolchain != nil && later(module.Toolchain.Name) {
		requested = module.Toolchain.Name
	}
	// The go line alone is a minimum and requests no version.
	if module.Go != nil && requested != "" && later("go"+module.Go.Version) {
		requested = "go" + module.Go.Version
	}
	return requested, nil
}

// module reads the service's go.mod.
func (b Builder) module(service platform.Service) (*modfile.File, error) {
	name := path.Join(service.Path, "go.mod")
	data, err := os.ReadFile(filepath.Join(b.Source.Dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, outcome.Usagef("reading %s: %w", name, source.WithoutPath(err))
	}
	module, err := modfile.Parse(name, data, nil)
	if err != nil {
		return nil, outcome.Usagef("reading %s: %w", name, err)
	}
	return module, nil
}

// toolchain returns the toolchain to compile the service with: the requested
// version if it is installed or can be downloaded, otherwise the machine's own.
// [toolchain.note] then reports the difference.
func (b Builder) toolchain(ctx context.Context, service platform.Service) (toolchain, error) {
	requested, err := b.requestedGo(service)
	if err != nil {
		return toolchain{}, err
	}
	own, err := b.goEnv(ctx, service, "")
	if err != nil {
		return toolchain{}, err
	}
	own.requested = requested
	if requested == "" || own.name == requested {
		return own, nil
	}
	if own.settings["GOTOOLCHAIN"] == "local" {
		own.missing = "GOTOOLCHAIN=local prevents its download"
		return own, nil
	}
	fetched, err := b.goEnv(ctx, service, requested)
	switch {
	case err == nil:
		fetched.requested = requested
		return fetched, nil
	case ctx.Err() != nil:
		return toolchain{}, err
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	own.missing = first
	return own, nil
}

// goEnv runs go env in the service's folder for the version and the settings.
// choice is the value of GOTOOLCHAIN; if empty, the machine's setting applies.
func (b Builder) goEnv(ctx context.Context, service platform.Service, choice string) (toolchain, error) {
	out, err := os.MkdirTemp("", "slipway-ask-")
	if err != nil {
		return toolchain{}, fmt.Errorf("creating a temporary directory for the build: %w", err)
	}
	defer os.RemoveAll(out)
	const output = "env.json"
	query := step.Step{
		Name:    "ask go for its version",
		Image:   b.Lock.Reference("go"),
		Dir:     service.Path,
		Args:    append([]string{"go", "env", "-json", "GOVERSION", "GOTOOLCHAIN"}, goSettings...),
		Env:     map[string]string{"GOWORK": "off", "GOFLAGS": ""},
		Caches:  step.GoCaches(),
		Stdout:  output,
		Include: []string{service.Path},
	}
	if choice != "" {
		query.Env["GOTOOLCHAIN"] = choice
	}
	result, err := b.Exec.Run(ctx, query, out)
	if err != nil {
		return toolchain{}, err
	}
	if result.ExitCode != 0 {
		return toolchain{}, fmt.Errorf("go env ended with exit code %d: %s", result.ExitCode, strings.TrimSpace(result.Stderr))
	}
	data, err := os.ReadFile(filepath.Join(out, output))
	if err != nil {
		return toolchain{}, fmt.Errorf("reading the output of go env: %w", source.WithoutPath(err))
	}
	t := toolchain{name: "local"}
	if err := json.Unmarshal(data, &t.settings); err != nil {
		return toolchain{}, fmt.Errorf("reading the output of go env: %w", err)
	}
	if releasedVersion.MatchString(t.settings["GOVERSION"]) {
		t.name = t.settings["GOVERSION"]
	}
	return t, nil
}

// environment returns the environment of the go command except for the platform.
// GOENV=off disables the settings of `go env -w`.
func (t toolchain) environment() map[string]string {
	env := map[string]string{
		"GOENV":              "off",
		"GOTOOLCHAIN":        t.name,
		"CGO_ENABLED":        "0",
		"GO111MODULE":        "on",
		"GOWORK":             "off",
		"GOFLAGS":            "", // go's default: use vendor/ if it exists, never change go.mod
		"GOEXPERIMENT":       "",
		"GOFIPS140":          "off",
		"GODEBUG":            "",
		"GO_EXTLINK_ENABLED": "",
	}
	for _, name := range goSettings {
		env[name] = t.settings[name]
	}
	return env
}

// note returns a message if a binary was made by another version of Go than the
// tree requests; "" otherwise.
func (t toolchain) note(made string) string {
	if t.requested == "" || made == t.requested {
		return ""
	}
	note := fmt.Sprintf("built with %s instead of %s, which the tree requests, so its digest differs from that of other machines", made, t.requested)
	if t.missing != "" {
		note += ": " + t.missing
	}
	return note
}

// goVersionOf returns the version of Go that a binary records, or "" for a binary
// that Go did not compile.
func goVersionOf(binary []byte) string {
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return ""
	}
	return info.GoVersion
}
