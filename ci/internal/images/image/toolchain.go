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
	"strings"

	"golang.org/x/mod/modfile"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/report/outcome"
)

// goSettings are what the compilation takes over from the machine: where
// modules come from and where they are kept. All else is the pipeline's own,
// whatever the environment and `go env -w` say, because it could change the
// binary.
var goSettings = []string{
	"GOAUTH", "GOCACHE", "GOINSECURE", "GOMODCACHE", "GONOPROXY", "GONOSUMDB", "GOPRIVATE", "GOPROXY", "GOSUMDB", "GOVCS",
}

// toolchain is the Go that compiles a service.
type toolchain struct {
	// name is what GOTOOLCHAIN selects it by, such as "go1.26.8", or "local".
	name     string
	settings map[string]string
	// requested is the version that the tree asks for; empty when it asks for none.
	requested string
	// missing says why it is not the wanted one.
	missing string
}

// releasedVersion matches the versions that GOTOOLCHAIN knows.
var releasedVersion = regexp.MustCompile(`^go1\.\d+(?:\.\d+|rc\d+)$`)

// versionTag finds the version in a reference such as
// "docker.io/library/golang:1.26.8-bookworm".
var versionTag = regexp.MustCompile(`:(1\.\d+\.\d+)(?:[-@]|$)`)

// requestedGo is the version that the tree asks for: the locked image's, or a
// later one that the service's go.mod names.
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
	// The go line alone is the least that will do, and asks for no version.
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
		return nil, outcome.Usagef("reading %s: %w", name, withoutPath(err))
	}
	module, err := modfile.Parse(name, data, nil)
	if err != nil {
		return nil, outcome.Usagef("reading %s: %w", name, err)
	}
	return module, nil
}

// toolchain finds the Go to compile the service with: the version that the
// tree asks for, where this machine has it or go may fetch it, and else the
// machine's own, which [toolchain.note] then tells.
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
		own.missing = "GOTOOLCHAIN=local keeps go from fetching it"
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

// goEnv asks the go command, in the service's folder, for its version and its
// settings. choice is a value for GOTOOLCHAIN; empty leaves that to the
// machine.
func (b Builder) goEnv(ctx context.Context, service platform.Service, choice string) (toolchain, error) {
	out, err := os.MkdirTemp("", "slipway-ask-")
	if err != nil {
		return toolchain{}, fmt.Errorf("making room for the build: %w", err)
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
		return toolchain{}, fmt.Errorf("reading what go env said: %w", withoutPath(err))
	}
	t := toolchain{name: "local"}
	if err := json.Unmarshal(data, &t.settings); err != nil {
		return toolchain{}, fmt.Errorf("reading what go env said: %w", err)
	}
	if releasedVersion.MatchString(t.settings["GOVERSION"]) {
		t.name = t.settings["GOVERSION"]
	}
	return t, nil
}

// environment is what the go command gets beside the platform. With GOENV off
// nothing that `go env -w` kept decides.
func (t toolchain) environment() map[string]string {
	env := map[string]string{
		"GOENV":              "off",
		"GOTOOLCHAIN":        t.name,
		"CGO_ENABLED":        "0",
		"GO111MODULE":        "on",
		"GOWORK":             "off",
		"GOFLAGS":            "", // go's default: vendor/ where it is there, and go.mod is never changed
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

// note says that a binary was made by another Go than the tree asks for;
// empty when it was not.
func (t toolchain) note(made string) string {
	if t.requested == "" || made == t.requested {
		return ""
	}
	note := fmt.Sprintf("built with %s, and the tree asks for %s, so the digest is another one than where that builds it", made, t.requested)
	if t.missing != "" {
		note += ": " + t.missing
	}
	return note
}

// goVersionOf is the version of Go that made a binary, as the binary says; empty
// for one that Go did not make.
func goVersionOf(binary []byte) string {
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return ""
	}
	return info.GoVersion
}
