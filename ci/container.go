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
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

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
	// left has what steps left in their output directories, by directory.
	left *sync.Map
}

func newContainers(source *dagger.Directory) containers {
	return containers{source: source, left: new(sync.Map)}
}

// Run runs s in a container of its image and leaves its outputs in dir.
func (c containers) Run(ctx context.Context, s step.Step, dir string) (step.Result, error) {
	if s.Image == "" {
		return step.Result{}, outcome.Usagef("%s has no image for %s: add its reference", image.LockFile, s.Args[0])
	}
	s = s.Expand(step.ContainerOut)
	inputs, err := c.inputs(s, dir)
	if err != nil {
		return step.Result{}, fmt.Errorf("giving %s its inputs: %w", s.Name, err)
	}
	done := c.prepare(s).WithDirectory(step.ContainerOut, inputs)
	if s.NoCache {
		done = done.WithEnvVariable("SLIPWAY_RUN", time.Now().Format(time.RFC3339Nano)) // no run is another's cache
	}
	done = done.WithExec(command(s), dagger.ContainerWithExecOpts{Expect: dagger.ReturnTypeAny})
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
			return c.Run(ctx, s, dir)
		}
	}
	said, err := done.Stderr(ctx)
	if err != nil {
		return step.Result{}, fmt.Errorf("running %s: %w", s.Name, err)
	}
	out := done.Directory(step.ContainerOut).WithoutFile(beganFile)
	c.left.Store(dir, out)
	for _, name := range s.Intermediate {
		out = out.WithoutDirectory(name)
	}
	if _, err := out.Export(ctx, dir); err != nil {
		return step.Result{}, fmt.Errorf("taking the outputs of %s: %w", s.Name, err)
	}
	return step.Result{ExitCode: code, Stderr: said}, nil
}

// beganFile tells, in the output directory, when a step began: whether it ran now, or
// its result is from the engine's cache.
const beganFile = ".began"

// command is what a container runs for s. What is written to standard output for a
// file goes there and nowhere else: Dagger's own redirection shows it in the trace,
// too, and Terraform writes plans and states there, with their secrets in clear.
func command(s step.Step) []string {
	script := `{ date +%s >"$0/` + beganFile + `"; } 2>/dev/null; exec "$@"`
	if s.Stdout != "" {
		script += ` >"$0/` + s.Stdout + `"`
	}
	return append([]string{"sh", "-c", script, step.ContainerOut}, s.Args...)
}

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
	}
	container = container.
		WithEnvVariable("PATH", "${PATH}:/", dagger.ContainerWithEnvVariableOpts{Expand: true}). // some images have their only program there
		WithDirectory(step.ContainerOut, dag.Directory()).
		WithMountedDirectory(step.ContainerSource, tree).
		WithWorkdir(path.Join(step.ContainerSource, s.Dir))
	// In order, or each call would be another one to the engine's cache.
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		container = container.WithEnvVariable(name, s.Env[name])
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

// secret is named by its content, too: Dagger knows a secret by its name alone.
func secret(name, value string) *dagger.Secret {
	sum := sha256.Sum256([]byte(value))
	return dag.SetSecret(name+"-"+hex.EncodeToString(sum[:8]), value)
}

// inputs are what s reads of the output directory: what an earlier step left there,
// and over that what the stage has put there.
func (c containers) inputs(s step.Step, dir string) (*dagger.Directory, error) {
	inputs := dag.Directory()
	if len(s.Inputs) == 0 {
		return inputs, nil
	}
	if left, ok := c.left.Load(dir); ok {
		var patterns []string
		for _, name := range s.Inputs {
			patterns = append(patterns, name, name+"/**")
		}
		inputs = left.(*dagger.Directory).Filter(dagger.DirectoryFilterOpts{Include: patterns})
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for _, name := range s.Inputs {
		local := filepath.Join(dir, filepath.FromSlash(name))
		info, err := os.Stat(local)
		if err != nil {
			continue // an earlier step left it, or it is not there at all
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
