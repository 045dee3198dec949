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

	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/dagger"
	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/images/image"
	"dagger/slipway/internal/report/outcome"
)

// containers runs steps in containers, with the cache volumes that they name.
type containers struct {
	source *dagger.Directory
	// environment is what steps may be given that ask for it: see [step.Step].
	environment map[string]string
	// emulator stands for AWS; nil where AWS is meant.
	emulator *dagger.Service
}

// Run runs s in a container of its image and leaves its outputs in dir. It is one
// line of the trace, below which its container says how far it is.
func (c containers) Run(ctx context.Context, s step.Step, dir string) (result step.Result, err error) {
	if s.Image == "" {
		return result, outcome.Usagef("%s has no image for %s: add its reference", image.LockFile, s.Args[0])
	}
	defer alive(s.Name)()
	err = span(ctx, s.Name, func(ctx context.Context) error {
		result, err = c.run(ctx, s.Expand(step.ContainerOut), dir)
		return err
	})
	return result, err
}

func (c containers) run(ctx context.Context, s step.Step, dir string) (step.Result, error) {
	inputs, err := c.inputs(s, dir)
	if err != nil {
		return step.Result{}, fmt.Errorf("giving %s its inputs: %w", s.Name, err)
	}
	start, err := starting(s)
	if err != nil {
		return step.Result{}, err
	}
	done := c.prepare(s).WithDirectory(step.ContainerOut, inputs).
		WithFile(runner, start, dagger.ContainerWithFileOpts{Permissions: 0o755}).WithEntrypoint([]string{runner})
	if s.NoCache {
		done = done.WithEnvVariable("SLIPWAY_RUN", time.Now().Format(time.RFC3339Nano)) // no run is another's cache
	}
	done = done.WithExec(s.Args, dagger.ContainerWithExecOpts{UseEntrypoint: true, Expect: dagger.ReturnTypeAny})
	asked := time.Now().Unix()
	code, err := done.ExitCode(ctx)
	if err != nil {
		return step.Result{}, fmt.Errorf("running %s: %w", s.Name, err)
	}
	if code != 0 && !s.NoCache {
		// The engine keeps failures, too, and what failed once may have been the network.
		at, err := done.File(path.Join(step.ContainerOut, beganFile)).Contents(ctx)
		if began, wrong := strconv.ParseInt(strings.TrimSpace(at), 10, 64); err == nil && wrong == nil && began < asked {
			s.NoCache = true
			return c.run(ctx, s, dir)
		}
	}
	said, err := done.Stderr(ctx)
	if err != nil {
		return step.Result{}, fmt.Errorf("running %s: %w", s.Name, err)
	}
	out := done.Directory(step.ContainerOut)
	for _, name := range s.Intermediate {
		out = out.WithoutDirectory(name)
	}
	if _, err := out.Export(ctx, dir); err != nil {
		return step.Result{}, fmt.Errorf("taking the outputs of %s: %w", s.Name, err)
	}
	return step.Result{ExitCode: code, Stderr: said}, nil
}

// alive says that a step still runs, until stop is called: one that compiles or waits
// has nothing else to say.
func alive(name string) (stop func()) {
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

// beganFile tells, in the output directory, when a step began: whether it ran now, or
// its result is from the engine's cache.
const beganFile = ".began"

// runner is what a container starts its tool with. What is written to standard output
// for a file goes there and nowhere else, but for what [step.Step.LogFilter] picks:
// Dagger's own redirection shows it in the trace, too, and Terraform writes plans and
// states there, with their secrets in clear.
const runner = "/.slipway"

// starting is that script for s, from a file, of which the trace shows the name.
func starting(s step.Step) (*dagger.File, error) {
	text := []byte(script(s))
	name := filepath.Join(temporary, fmt.Sprintf("step-%x", sha256.Sum256(text))) // the same step has the same
	if err := source.WriteFileAtomic(name, text, 0o600); err != nil {             // in one go: the same step may be starting elsewhere
		return nil, fmt.Errorf("starting %s: %w", s.Name, err)
	}
	return dag.CurrentModule().WorkdirFile(name), nil
}

func script(s step.Step) string {
	lines := []string{"#!/bin/sh", "{ date +%s >" + step.ContainerOut + "/" + beganFile + "; } 2>/dev/null"}
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

// quote makes text one word of a shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// prepare is the container that a step runs in: it has the part of the tree
// that the step reads and nothing else, so that a change elsewhere leaves the
// step's result in the cache.
func (c containers) prepare(s step.Step) *dagger.Container {
	tree := c.source
	if len(s.Include) > 0 {
		tree = tree.Filter(dagger.DirectoryFilterOpts{Include: s.Include})
	}
	container := dag.Container().From(s.Image)
	for _, cache := range s.Caches {
		container = container.WithMountedCache(cache.Path, dag.CacheVolume("slipway-"+cache.Name))
		if cache.Variable != "" {
			container = container.WithEnvVariable(cache.Variable, cache.Path)
		}
	}
	container = container.
		WithEnvVariable("PATH", "${PATH}:/", dagger.ContainerWithEnvVariableOpts{Expand: true}). // some images have their only program there
		WithDirectory(step.ContainerOut, dag.Directory()).
		WithMountedDirectory(step.ContainerSource, tree).
		WithWorkdir(path.Join(step.ContainerSource, s.Dir))
	// In order, or each call would be another one to the engine's cache.
	var plain strings.Builder // all in one call, but for what its format would read otherwise
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
				value = strings.Replace(value, "127.0.0.1", emulatorHost, 1) // where it leads to from here: see reach
			}
			container = container.WithSecretVariable(name, secret(name, value))
		}
	}
	if c.emulator != nil && len(s.PassEnv) > 0 {
		container = container.WithServiceBinding(emulatorHost, c.emulator)
	}
	return container
}

var plainValue = regexp.MustCompile(`^[\w./:=@,+-]+$`)

// secret is named by its content, too: Dagger knows a secret by its name alone.
func secret(name, value string) *dagger.Secret {
	sum := sha256.Sum256([]byte(value))
	return dag.SetSecret(name+"-"+hex.EncodeToString(sum[:8]), value)
}

// inputs are what s reads of the output directory: what an earlier step left there, or
// the stage has put there. The engine knows them by their content alone.
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
			continue // it need not be there
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
