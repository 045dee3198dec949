package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"dagger/slipway/internal/step"
)

// getDocker says how to get a container runtime.
const getDocker = "install it from https://docs.docker.com/engine/install"

// Docker is Docker's client, and whether its daemon answers.
type Docker struct{ Exec step.Executor }

// Name fits Probe.
func (Docker) Name() string { return "docker" }

// Look asks the daemon for its version.
func (d Docker) Look(ctx context.Context) Finding {
	text, exit, err := said(ctx, d.Exec, "docker", "version", "--format", "{{.Server.Version}}")
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return missing(getDocker, "docker is not on PATH")
	case err != nil:
		return missing("start its daemon", "%s", oneLine(err.Error()))
	case exit != 0:
		return missing("start its daemon, or name another with DOCKER_HOST", "%s", firstLine(text))
	}
	return ok("%s", firstLine(text))
}

// Dagger is Dagger's client, held against the version of the module.
type Dagger struct {
	Program
	// Dir is the root of the source tree.
	Dir string
}

// Look asks dagger for its version.
func (d Dagger) Look(ctx context.Context) Finding {
	version, found := d.ask(ctx)
	if found.State != OK {
		return found
	}
	var file struct {
		EngineVersion string `json:"engineVersion"`
	}
	data, err := os.ReadFile(filepath.Join(d.Dir, "dagger.json"))
	if err == nil {
		err = json.Unmarshal(data, &file)
	}
	if wanted := strings.TrimPrefix(file.EngineVersion, "v"); err == nil && wanted != "" && wanted != version {
		return limited("install v"+wanted+" from https://docs.dagger.io/install", "v%s, and dagger.json is for v%s", version, wanted)
	}
	return ok("v%s", version)
}

// RunnerHost names the variable that names an engine elsewhere.
const RunnerHost = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"

// Engine is Dagger's engine. It is not started to find out.
type Engine struct {
	// Host is the value of [RunnerHost], such as "tcp://engine.internal:1234"; ""
	// where Dagger's client starts an engine by itself.
	Host string
	Exec step.Executor
}

// Name fits Probe.
func (Engine) Name() string { return "engine" }

// Look knocks at the engine that is named, or asks for the container of one.
func (e Engine) Look(ctx context.Context) Finding {
	scheme, address, named := strings.Cut(e.Host, "://")
	switch {
	case e.Host == "":
		return e.container(ctx)
	case named && (scheme == "tcp" || scheme == "unix"):
		connection, err := (&net.Dialer{}).DialContext(ctx, scheme, address)
		if err != nil {
			return missing("start it, or mend "+RunnerHost, "%s cannot be reached: %s", e.Host, reason(err))
		}
		_ = connection.Close()
		return ok("%s answers", e.Host)
	}
	return limited("", "%s is %s, which dagger alone can ask", RunnerHost, e.Host)
}

func (e Engine) container(ctx context.Context) Finding {
	text, exit, err := said(ctx, e.Exec, "docker", "ps", "--filter", "name=dagger-engine", "--format", "{{.Names}}")
	if err != nil || exit != 0 {
		return missing("start Docker, or name an engine elsewhere with "+RunnerHost, "no container runtime answers that could run it")
	}
	if running := strings.Fields(text); len(running) > 0 {
		return ok("%s runs", strings.Join(running, ", "))
	}
	return ok("none runs: the first dagger call starts it")
}

// reason is the core of a network error.
func reason(err error) string {
	var unknown *net.DNSError
	var operation *net.OpError
	switch {
	case errors.As(err, &unknown):
		return fmt.Sprintf("no such host %s", unknown.Name)
	case errors.As(err, &operation):
		return operation.Err.Error()
	}
	return oneLine(err.Error())
}
