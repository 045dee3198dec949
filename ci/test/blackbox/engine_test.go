// Package blackbox calls the Dagger module as its users do: on a real engine, with
// small source trees, against the embedded AWS of this process.
package blackbox

import (
	"bytes"
	"context"
	"maps"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/slipway-cd/slipway/ci/internal/sourcetest"

	sdk "dagger.io/dagger"
	"github.com/stretchr/testify/require"
)

// session is an engine session that serves the module, shared by all tests.
var session struct {
	once   sync.Once
	client *sdk.Client
	err    error
	said   bytes.Buffer
}

func TestMain(m *testing.M) {
	code := m.Run()
	if session.client != nil {
		_ = session.client.Close()
	}
	os.Exit(code)
}

// needsEngine skips a test without an engine.
func needsEngine(t *testing.T) {
	t.Helper()
	if why := noEngine(t); why != "" {
		t.Skip(why)
	}
}

// noEngine returns why the test needs an engine and how to get one, or "" if one is
// available.
func noEngine(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("dagger"); err != nil {
		return "no dagger on the PATH: https://docs.dagger.io/install"
	}
	if os.Getenv("_EXPERIMENTAL_DAGGER_RUNNER_HOST") == "" && exec.CommandContext(t.Context(), "docker", "info").Run() != nil {
		return "no Dagger Engine: start a container runtime, or name an engine with _EXPERIMENTAL_DAGGER_RUNNER_HOST"
	}
	return ""
}

// connect returns a client of an engine that serves the module.
func connect(t *testing.T) *sdk.Client {
	t.Helper()
	needsEngine(t)
	session.once.Do(func() {
		cli, _ := exec.LookPath("dagger")
		_ = os.Setenv("_EXPERIMENTAL_DAGGER_CLI_BIN", cli)
		ctx := context.Background() // outlives the test that connects first
		if session.client, session.err = sdk.Connect(ctx, sdk.WithWorkdir(sourcetest.Repository()), sdk.WithLogOutput(&session.said)); session.err == nil {
			session.err = session.client.ModuleSource(".").AsModule().Serve(ctx)
		}
	})
	require.NoError(t, session.err, session.said.String())
	return session.client
}

// pipeline calls a function of the module with the source tree at source. The
// constructor's arguments and the selection are GraphQL.
type pipeline struct {
	t         *testing.T
	client    *sdk.Client
	source    string
	arguments string
	variables map[string]any
}

func newPipeline(t *testing.T, source string) pipeline {
	return pipeline{t: t, client: connect(t), source: source, variables: map[string]any{}}
}

// with adds an argument to the constructor.
func (p pipeline) with(name string, value any) pipeline {
	variables := map[string]any{name: value}
	maps.Copy(variables, p.variables)
	p.variables = variables
	p.arguments += ", " + name + ": $" + name
	return p
}

// call makes one call and decodes its result into data.
func (p pipeline) call(selection string, data any) error {
	p.t.Helper()
	id, err := p.client.Host().Directory(p.source, sdk.HostDirectoryOpts{NoCache: true}).ID(p.t.Context())
	require.NoError(p.t, err)
	declared := "$source: ID!"
	variables := map[string]any{"source": id}
	for name, value := range p.variables {
		declared += ", $" + name + ": " + typeOf(value)
		variables[name] = value
	}
	query := "query (" + declared + ") { slipway(source: $source" + p.arguments + ") { " + selection + " } }"
	result := struct{ Slipway any }{data} // data is a pointer to the result
	return p.client.Do(p.t.Context(), &sdk.Request{Query: query, Variables: variables}, &sdk.Response{Data: &result})
}

// typeOf returns the GraphQL type of a variable. IDs are optional in the constructor
// and required in functions.
func typeOf(value any) string {
	switch value.(type) {
	case string:
		return "String"
	case sdk.DirectoryID:
		return "ID!"
	}
	return "ID"
}
