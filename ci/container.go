package main

import (
	"context"
	"fmt"
	"path"

	"dagger/slipway/internal/dagger"
	"dagger/slipway/internal/step"
)

// containers runs steps in containers, with the cache volumes that they name.
type containers struct{ source *dagger.Directory }

// Run runs s in a container of its image and leaves its outputs in dir.
func (c containers) Run(ctx context.Context, s step.Step, dir string) (step.Result, error) {
	s = s.Expand(step.ContainerOut)
	options := dagger.ContainerWithExecOpts{Expect: dagger.ReturnTypeAny}
	if s.Stdout != "" {
		options.RedirectStdout = path.Join(step.ContainerOut, s.Stdout)
	}
	done := c.prepare(s).WithExec(s.Args, options)
	code, err := done.ExitCode(ctx)
	if err != nil {
		return step.Result{}, fmt.Errorf("running %s: %w", s.Name, err)
	}
	said, err := done.Stderr(ctx)
	if err != nil {
		return step.Result{}, fmt.Errorf("running %s: %w", s.Name, err)
	}
	if _, err := done.Directory(step.ContainerOut).Export(ctx, dir); err != nil {
		return step.Result{}, fmt.Errorf("taking the outputs of %s: %w", s.Name, err)
	}
	return step.Result{ExitCode: code, Stderr: said}, nil
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
		WithDirectory(step.ContainerOut, dag.Directory()).
		WithMountedDirectory(step.ContainerSource, tree).
		WithWorkdir(path.Join(step.ContainerSource, s.Dir))
	for name, value := range s.Env {
		container = container.WithEnvVariable(name, value)
	}
	return container
}
