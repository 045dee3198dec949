package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/dagger"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// containers runs steps in containers, with their cache volumes.
type containers struct {
	// source is the whole tree, with git's objects.
	source *dagger.Directory
	// files is the tree without git's objects. The engine identifies a part of it by its content;
	// a part of source gets another key with each commit.
	files *dagger.Directory
	// environment has the variables for steps that ask for them: see [step.Step.PassEnv].
	environment map[string]string
	// emulator is used instead of AWS, unless it is nil.
	emulator *dagger.Service
	// netrc and goEnv are for steps that download Go modules.
	netrc *dagger.Secret
	goEnv []string
	// buildSecrets are for Dockerfiles.
	buildSecrets []*dagger.Secret
}

func (m *Slipway) containers() containers {
	return containers{
		source: m.tree().Directory(m.Folder), files: m.Source.Directory(m.Folder),
		netrc: m.Netrc, goEnv: m.GoEnv, buildSecrets: m.BuildSecrets,
	}
}

// goSetting returns the value of a setting of --go-env, or "".
func (m *Slipway) goSetting(name string) (value string) {
	for _, setting := range m.GoEnv {
		if given, is := strings.CutPrefix(setting, name+"="); is {
			value = given
		}
	}
	return value
}

// Run runs s in a container of its image and copies its outputs to dir. Its span in the
// trace contains the log of the container.
func (c containers) Run(ctx context.Context, s step.Step, dir string) (result step.Result, err error) {
	if s.Image == "" {
		return result, outcome.Usagef("%s has no image for %s: add its reference", image.LockFile, s.Args[0])
	}
	defer logElapsed(s.Name)()
	err = span(ctx, s.Name, func(ctx context.Context) error {
		result, err = c.run(ctx, s.Expand(step.ContainerOut), dir)
		return err
	})
	return result, err
}

func (c containers) run(ctx context.Context, s step.Step, dir string) (step.Result, error) {
	inputs, err := c.inputs(s, dir)
	if err != nil {
		return step.Result{}, fmt.Errorf("preparing the inputs of %s: %w", s.Name, err)
	}
	script, err := entrypointFile(s)
	if err != nil {
		return step.Result{}, err
	}
	done := c.prepare(s).WithDirectory(step.ContainerOut, inputs).
		WithFile(entrypoint, script, dagger.ContainerWithFileOpts{Permissions: 0o755}).WithEntrypoint([]string{entrypoint})
	if s.NoCache {
		done = done.WithEnvVariable("SLIPWAY_RUN", time.Now().Format(time.RFC3339Nano)) // never from the cache
	}
	done = done.WithExec(s.Args, dagger.ContainerWithExecOpts{UseEntrypoint: true, Expect: dagger.ReturnTypeAny})
	requested := time.Now().Unix()
	code, err := done.ExitCode(ctx)
	if err != nil {
		return step.Result{}, runError(ctx, s, err)
	}
	if code != 0 && !s.NoCache {
		// The engine caches failures too, but this one may be of the network.
		at, err := done.File(path.Join(step.ContainerOut, startTimeFile)).Contents(ctx)
		if began, wrong := strconv.ParseInt(strings.TrimSpace(at), 10, 64); err == nil && wrong == nil && began < requested {
			s.NoCache = true
			return c.run(ctx, s, dir)
		}
	}
	stderr, err := done.Stderr(ctx)
	if err != nil {
		return step.Result{}, fmt.Errorf("running %s: %w", s.Name, err)
	}
	out := done.Directory(step.ContainerOut)
	for _, name := range s.Intermediate {
		out = out.WithoutDirectory(name)
	}
	if _, err := out.Export(ctx, dir); err != nil {
		return step.Result{}, fmt.Errorf("reading the outputs of %s: %w", s.Name, err)
	}
	return step.Result{ExitCode: code, Stderr: stderr}, nil
}

// runError returns the error of a step that could not run. A step whose image cannot be
// pulled misses its tool, like one on a host that has not installed it.
func runError(ctx context.Context, s step.Step, err error) error {
	_, pullErr := dag.Container().From(s.Image).Sync(ctx)
	if pullErr != nil && ctx.Err() == nil && connected(ctx) {
		reason, _, _ := strings.Cut(pullErr.Error(), " [traceparent:")
		return &tool.MissingError{Tool: s.Args[0], Reason: fmt.Sprintf(
			"image %s cannot be pulled: %s: connect the engine to its registry or to a mirror, or correct the reference in %s",
			s.Image, outcome.OneLine(reason), image.LockFile)}
	}
	return fmt.Errorf("running %s: %w", s.Name, err)
}

// connected reports whether the engine answers.
func connected(ctx context.Context) bool {
	_, err := dag.Version(ctx)
	return err == nil
}

// logElapsed logs every few seconds that a step still runs, until stop is called.
func logElapsed(name string) (stop func()) {
	quit, began := make(chan struct{}), time.Now()
	go func() {
		for tick := time.NewTicker(8 * time.Second); ; {
			select {
			case <-quit:
				tick.Stop()
				return
			case <-tick.C:
				fmt.Fprintf(os.Stderr, "%s: %s\n", name, time.Since(began).Round(time.Second))
			}
		}
	}()
	return func() { close(quit) }
}

// startTimeFile has the time of a step's start, in the output directory. It shows whether
// the result comes from the engine's cache.
const startTimeFile = ".began"

// entrypoint is the path of the script that starts the tool in a container. It writes
// standard output to the step's file; only the lines of [step.Step.LogFilter] are logged.
// Dagger's own redirection would show all of it in the trace, and Terraform writes plans
// and states there, with unencrypted secrets.
const entrypoint = "/.slipway"

// entrypointFile returns the script for s. The trace shows only the name of the file.
func entrypointFile(s step.Step) (*dagger.File, error) {
	text := []byte(entrypointScript(s))
	name := filepath.Join(tempDir, fmt.Sprintf("step-%x", sha256.Sum256(text))) // the same for the same step
	if err := source.WriteFileAtomic(name, text, 0o600); err != nil {           // the same step may start concurrently
		return nil, fmt.Errorf("preparing %s: %w", s.Name, err)
	}
	return dag.CurrentModule().WorkdirFile(name), nil
}

func entrypointScript(s step.Step) string {
	lines := []string{"#!/bin/sh", "{ date +%s >" + step.ContainerOut + "/" + startTimeFile + "; } 2>/dev/null"}
	if s.Stdout == "" {
		return strings.Join(append(lines, `exec "$@" >&2`), "\n")
	}
	file := quote(path.Join(step.ContainerOut, s.Stdout))
	lines = append(lines, ": >"+file)
	if s.LogFilter != "" {
		lines = append(lines, "{ tail -f "+file+" | sed -unE "+quote(s.LogFilter)+"; } 2>/dev/null &")
	}
	return strings.Join(append(lines, `exec "$@" >>`+file), "\n")
}

// quote quotes text for a shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// prepare returns the container of a step. It has only the parts of the tree that the
// step reads, so that other changes do not invalidate its cache.
func (c containers) prepare(s step.Step) *dagger.Container {
	tree := c.source
	if include, exclude := s.Filter(); len(include)+len(exclude) > 0 {
		tree = c.files.Filter(dagger.DirectoryFilterOpts{Include: include, Exclude: exclude})
	}
	container := dag.Container().From(s.Image)
	for _, cache := range s.Caches {
		container = container.WithMountedCache(cache.Path, dag.CacheVolume("slipway-"+cache.Name))
		if cache.Variable != "" {
			container = container.WithEnvVariable(cache.Variable, cache.Path)
		}
	}
	container = container.
		WithEnvVariable("PATH", "${PATH}:/", dagger.ContainerWithEnvVariableOpts{Expand: true}). // some images have their only program in /
		WithDirectory(step.ContainerOut, dag.Directory()).
		WithMountedDirectory(step.ContainerSource, tree).
		WithWorkdir(path.Join(step.ContainerSource, s.Dir))
	// Sorted, so that each call has the same cache key.
	var plain strings.Builder // set in one call, except values that the env file format would change
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		if value := s.Env[name]; plainValue.MatchString(value) {
			fmt.Fprintf(&plain, "%s=%s\n", name, value)
		} else {
			container = container.WithEnvVariable(name, value)
		}
	}
	if plain.Len() > 0 {
		container = container.WithEnvFileVariables(dag.File("environment", plain.String()).AsEnvFile())
	}
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		container = container.WithSecretVariable(name, secret(name, s.Secrets[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(c.environment)) {
		if s.PassesEnv(name) {
			value := c.environment[name]
			if name == "AWS_ENDPOINT_URL" {
				value = strings.Replace(value, "127.0.0.1", emulatorHost, 1) // see forwardPorts
			}
			container = container.WithSecretVariable(name, secret(name, value))
		}
	}
	if slices.ContainsFunc(s.Caches, func(cache step.Cache) bool { return cache == step.GoCaches()[0] }) {
		for _, setting := range c.goEnv {
			name, value, _ := strings.Cut(setting, "=")
			container = container.WithEnvVariable(name, value)
		}
		if c.netrc != nil {
			container = container.WithMountedSecret("/root/.netrc", c.netrc) // of the go command, and of git
		}
	}
	if c.emulator != nil && len(s.PassEnv) > 0 {
		container = container.WithServiceBinding(emulatorHost, c.emulator)
	}
	return container
}

var plainValue = regexp.MustCompile(`^[\w./:=@,+-]+$`)

// secret returns a secret whose name depends on its value too: Dagger identifies a secret
// by its name alone.
func secret(name, value string) *dagger.Secret {
	sum := sha256.Sum256([]byte(value))
	return dag.SetSecret(name+"-"+hex.EncodeToString(sum[:8]), value)
}

// inputs returns the files that s reads of the output directory. Their cache key is their
// content alone.
func (c containers) inputs(s step.Step, dir string) (*dagger.Directory, error) {
	inputs := dag.Directory()
	if len(s.Inputs) == 0 {
		return inputs, nil
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for _, name := range s.Inputs {
		local := filepath.Join(dir, filepath.FromSlash(name))
		info, err := os.Stat(local)
		if err != nil {
			continue // optional
		}
		below, err := filepath.Rel(here, local)
		if err != nil || strings.HasPrefix(below, "..") {
			return nil, fmt.Errorf("%s is not below the module's own directory", local)
		}
		if info.IsDir() {
			inputs = inputs.WithDirectory(name, dag.CurrentModule().Workdir(below))
			continue
		}
		inputs = inputs.WithFile(name, dag.CurrentModule().WorkdirFile(below))
	}
	return inputs, nil
}
