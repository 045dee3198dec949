package doctor_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/awsauth"
	"dagger/slipway/internal/doctor"
	"dagger/slipway/internal/localaws"
	"dagger/slipway/internal/localaws/localawstest"
	"dagger/slipway/internal/sourcetest"
	"dagger/slipway/internal/tool"
)

var errNobody = &net.OpError{Op: "dial", Err: errors.New("nobody there")}

// program is one that is called dagger, docker, …
func program(name, words string, machine says, args ...string) doctor.Program {
	return doctor.Program{Called: name, Args: args, Version: doctor.VersionAfter(words), Get: "get it", Exec: machine}
}

func TestPrograms(t *testing.T) {
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, "go.work", "go 1.26.5\n\nuse ./ci\n")
	sourcetest.Write(t, dir, "ci/go.mod", "module ci\n\ngo 1.26.2\n")
	sourcetest.Write(t, dir, "dagger.json", `{"engineVersion": "v0.21.8"}`)
	golang := func(machine says) doctor.Probe {
		return doctor.Go{Program: program("go", "go version go", machine, "go", "version"), Dir: dir}
	}
	dagger := func(machine says) doctor.Probe {
		return doctor.Dagger{Program: program("dagger", "dagger ", machine, "dagger", "version"), Dir: dir}
	}
	docker := func(machine says) doctor.Probe { return doctor.Docker{Exec: machine} }
	const server = "docker version --format {{.Server.Version}}"
	for name, tt := range map[string]struct {
		probe      doctor.Probe
		state      doctor.State
		says, mend string
	}{
		"there":                           {program("git", "git version ", says{"git --version": "git version 2.39.5\n"}, "git", "--version"), doctor.OK, "2.39.5", ""},
		"on standard error, among others": {program("nginx", "nginx/", says{"nginx -v": "warning\nnginx version: nginx/1.22.1\n"}, "nginx", "-v"), doctor.OK, "1.22.1", ""},
		"not there":                       {program("git", "git version ", nil, "git", "--version"), doctor.Missing, "git is not on PATH", "get it"},
		"says something else":             {program("git", "git version ", says{"git --version": "hello\nworld"}, "git", "--version"), doctor.Missing, `git --version answers "hello" (exit code 0)`, "get it"},
		"fails":                           {program("git", "git version ", says{"git --version": "fails: git version 2.39.5"}, "git", "--version"), doctor.Missing, `git --version answers "git version 2.39.5" (exit code 1)`, "get it"},

		"go":               {golang(says{"go version": "go version go1.26.8 linux/amd64"}), doctor.OK, "1.26.8", ""},
		"go, not there":    {golang(nil), doctor.Missing, "go is not on PATH", "get it"},
		"go, an older one": {golang(says{"go version": "go version go1.25.1 linux/amd64"}), doctor.Limited, "1.25.1, and the tree asks for 1.26.5, which go fetches (GOTOOLCHAIN) where there is a network", "install Go 1.26.5 from https://go.dev/dl"},

		"dagger":              {dagger(says{"dagger version": "dagger v0.21.8 (image://…)"}), doctor.OK, "v0.21.8", ""},
		"dagger, not there":   {dagger(nil), doctor.Missing, "dagger is not on PATH", "get it"},
		"dagger, another one": {dagger(says{"dagger version": "dagger v0.20.0"}), doctor.Limited, "v0.20.0, and dagger.json is for v0.21.8", "install v0.21.8 from https://docs.dagger.io/install"},

		"docker":               {docker(says{server: "27.1.1\n"}), doctor.OK, "27.1.1", ""},
		"docker, not there":    {docker(nil), doctor.Missing, "docker is not on PATH", "install it from https://docs.docker.com/engine/install"},
		"docker, no daemon":    {docker(says{server: "fails: Cannot connect to the Docker daemon\n"}), doctor.Missing, "Cannot connect to the Docker daemon", "start its daemon, or name another with DOCKER_HOST"},
		"a compiler":           {doctor.Compiler{Supported: func(context.Context) (bool, string) { return true, "" }}, doctor.OK, "the race detector works", ""},
		"no compiler":          {doctor.Compiler{Supported: func(context.Context) (bool, string) { return false, "no gcc: install it" }}, doctor.Missing, "no gcc: install it", ""},
		"tools without Go":     {doctor.Tools{Exec: says{}}, doctor.Missing, "go, which compiles them, does not tell where it keeps modules", "install Go from https://go.dev/dl"},
		"tools, not fetched":   {doctor.Tools{All: []tool.Tool{{Name: "gofumpt", Package: "mvdan.cc/gofumpt", Version: "v0.1.0"}}, Exec: says{"go env GOMODCACHE": dir}}, doctor.Limited, "not fetched yet: gofumpt v0.1.0", "run slipway lint once where there is a network"},
		"engine by Docker":     {doctor.Engine{Exec: says{"docker ps --filter name=dagger-engine --format {{.Names}}": "dagger-engine-v0.21.8\n"}}, doctor.OK, "dagger-engine-v0.21.8 runs", ""},
		"engine, none yet":     {doctor.Engine{Exec: says{"docker ps --filter name=dagger-engine --format {{.Names}}": ""}}, doctor.OK, "none runs: the first dagger call starts it", ""},
		"engine, no container": {doctor.Engine{Exec: says{}}, doctor.Missing, "no container runtime answers that could run it", "start Docker, or name an engine elsewhere with _EXPERIMENTAL_DAGGER_RUNNER_HOST"},
		"engine in Kubernetes": {doctor.Engine{Host: "kube-pod://dagger-engine"}, doctor.Limited, "_EXPERIMENTAL_DAGGER_RUNNER_HOST is kube-pod://dagger-engine, which dagger alone can ask", ""},
		"engine, not there":    {doctor.Engine{Host: "tcp://127.0.0.1:1"}, doctor.Missing, "tcp://127.0.0.1:1 cannot be reached: connect: connection refused", "start it, or mend _EXPERIMENTAL_DAGGER_RUNNER_HOST"},
	} {
		t.Run(name, func(t *testing.T) {
			found := tt.probe.Look(t.Context())
			require.Equal(t, tt.state, found.State, found.Says)
			require.Equal(t, tt.says, found.Says)
			require.Equal(t, tt.mend, found.Mend)
		})
	}
}

func TestToolsInTheModuleCache(t *testing.T) {
	cache := t.TempDir()
	sourcetest.Write(t, cache, "cache/download/github.com/!burnt!sushi/toml/@v/v1.0.0.zip", "")
	found := doctor.Tools{
		All:  []tool.Tool{{Name: "tomlv", Package: "github.com/BurntSushi/toml/cmd/tomlv", Version: "v1.0.0"}},
		Exec: says{"go env GOMODCACHE": cache + "\n"},
	}.Look(t.Context())
	require.Equal(t, doctor.Finding{State: doctor.OK, Says: "tomlv v1.0.0"}, found)
}

func TestEngineAnswers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	host := "tcp://" + listener.Addr().String()
	require.Equal(t, doctor.Finding{State: doctor.OK, Says: host + " answers"}, doctor.Engine{Host: host}.Look(t.Context()))
}

func TestRegistryAndDatabase(t *testing.T) {
	dir, nowhere := sourcetest.New(t), t.TempDir()
	const hub, local = "https://index.docker.io/v2/", "http://127.0.0.1:1/v2/"
	index := doctor.Database{URL: "https://vuln.go.dev", Carrier: network{"https://vuln.go.dev/index/db.json": 200}}
	file := func(path string) doctor.Database { return doctor.Database{URL: "file://" + path} }
	const mend = "is the network, or its proxy, there?"
	for name, tt := range map[string]struct {
		probe      doctor.Probe
		state      doctor.State
		says, mend string
	}{
		"both answer, one wants a login": {doctor.Registry{Dir: dir, Carrier: network{hub: 401, local: 200}}, doctor.OK, "127.0.0.1:1, index.docker.io answers", ""},
		"one is not there":               {doctor.Registry{Dir: dir, Carrier: network{hub: 401}}, doctor.Missing, "127.0.0.1:1 cannot be reached: nobody there", mend},
		"both fail":                      {doctor.Registry{Dir: dir, Carrier: network{hub: 503, local: 500}}, doctor.Missing, "127.0.0.1:1 cannot be reached: it answers Internal Server Error; index.docker.io cannot be reached: it answers Service Unavailable", mend},
		"no lock file":                   {doctor.Registry{Dir: nowhere}, doctor.Missing, "not asked: the lock file does not name it", ""},
		"a database":                     {index, doctor.OK, "https://vuln.go.dev answers", ""},
		"no database":                    {doctor.Database{URL: "https://vuln.go.dev", Carrier: network{}}, doctor.Missing, "https://vuln.go.dev cannot be reached: nobody there", mend + " GOVULNDB names another database"},
		"no address":                     {doctor.Database{URL: "https://vuln go dev:x"}, doctor.Missing, `"https://vuln go dev:x" is no address of a database`, mend + " GOVULNDB names another database"},
		"a database on this machine":     {file(dir), doctor.OK, "file://" + dir + " is there", ""},
		"none on this machine":           {file("/no/such"), doctor.Missing, "there is no database at /no/such", "GOVULNDB names another database"},
	} {
		t.Run(name, func(t *testing.T) {
			found := tt.probe.Look(t.Context())
			require.Equal(t, tt.state, found.State, found.Says)
			require.Equal(t, tt.says, found.Says)
			require.Equal(t, tt.mend, found.Mend)
		})
	}
}

func TestTree(t *testing.T) {
	dir, nowhere := sourcetest.New(t), t.TempDir()
	look := func(p doctor.Probe) string {
		found := p.Look(t.Context())
		return string(found.State) + ": " + found.Says
	}
	require.Regexp(t, `^ok: at commit [0-9a-f]{12}$`, look(doctor.Tree{Dir: dir}))
	require.Equal(t, "ok: no file differs from the commit", look(doctor.Clean{Tree: doctor.Tree{Dir: dir}}))
	require.Equal(t, "ok: terraform/services.auto.tfvars.json: api, web", look(doctor.Services{Dir: dir}))
	require.Equal(t, "ok: ci/images.lock.json: go, nginx", look(doctor.Lock{Dir: dir}))
	require.Equal(t, "limited: not locked: go: what their registries have then is taken", look(doctor.Digests{Lock: doctor.Lock{Dir: dir}}))

	sourcetest.Write(t, dir, "api/main.go", "package main\n")
	require.Regexp(t, `^ok: at commit [0-9a-f]{12}, and files differ from it$`, look(doctor.Tree{Dir: dir}))
	require.Contains(t, look(doctor.Clean{Tree: doctor.Tree{Dir: dir}}), "missing: files differ from the commit")
	sourcetest.Write(t, dir, "ci/images.lock.json", `{"images": {"go": {"reference": "docker.io/library/golang:1.26", "digest": "sha256:`+digest+`"}, "nginx": {"reference": "docker.io/library/nginx:1", "digest": "sha256:`+digest+`"}}}`)
	require.Equal(t, "ok: all are locked", look(doctor.Digests{Lock: doctor.Lock{Dir: dir}}))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "terraform", "services.auto.tfvars.json"), []byte("{"), 0o600))
	require.Contains(t, look(doctor.Services{Dir: dir}), "missing: ")

	require.Contains(t, look(doctor.Tree{Dir: nowhere}), "is not a git work tree")
	require.Contains(t, look(doctor.Clean{Tree: doctor.Tree{Dir: nowhere}}), "there is no commit to compare with")
	require.Contains(t, look(doctor.Services{Dir: nowhere}), "no services file at")
	require.Contains(t, look(doctor.Lock{Dir: nowhere}), "missing: ")
	require.Equal(t, "missing: not asked: the lock file cannot be read", look(doctor.Digests{Lock: doctor.Lock{Dir: nowhere}}))
}

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// caller is somebody that AWS knows, or not.
type caller struct {
	who awsauth.Who
	err error
}

func (c caller) Who(context.Context) (awsauth.Who, error) { return c.who, c.err }

func TestCredentials(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	who := awsauth.Who{ARN: "arn:aws:sts::123456789012:assumed-role/deploy/ann", Region: "us-east-1"}
	at := who
	at.Endpoint = "http://127.0.0.1:4566"
	until := func(after time.Duration) awsauth.Who {
		w := who
		w.Expires = now.Add(after)
		return w
	}
	for name, tt := range map[string]struct {
		caller caller
		state  doctor.State
		says   string
	}{
		"keys":        {caller{who: who}, doctor.OK, who.ARN + " in us-east-1"},
		"an emulator": {caller{who: at}, doctor.OK, who.ARN + " in us-east-1 at http://127.0.0.1:4566"},
		"a session":   {caller{who: until(time.Hour)}, doctor.OK, who.ARN + " in us-east-1, for 1h0m0s more"},
		"nearly over": {caller{who: until(5 * time.Minute)}, doctor.Limited, who.ARN + " in us-east-1, for 5m0s more"},
		"none":        {caller{err: errors.New("no AWS credentials:\n set AWS_PROFILE")}, doctor.Missing, "no AWS credentials: set AWS_PROFILE"},
	} {
		t.Run(name, func(t *testing.T) {
			found := doctor.Credentials{Caller: tt.caller, Now: func() time.Time { return now }}.Look(t.Context())
			require.Equal(t, tt.state, found.State)
			require.Equal(t, tt.says, found.Says)
		})
	}
}

func TestECR(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	carrier := &http.Transport{}
	defer carrier.CloseIdleConnections()
	config := func(endpoint string) func(context.Context) (aws.Config, error) {
		return func(context.Context) (aws.Config, error) {
			return aws.Config{
				Region: "us-east-1", BaseEndpoint: &endpoint, HTTPClient: &http.Client{Transport: carrier},
				Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""),
			}, nil
		}
	}
	found := doctor.ECR{Load: config(p.Server.Endpoint()), Carrier: carrier}.Look(t.Context())
	require.Equal(t, doctor.OK, found.State, found.Says)
	require.Contains(t, found.Says, " gives a login")

	found = doctor.ECR{Load: config(p.Server.Endpoint()), Carrier: network{}}.Look(t.Context())
	require.Equal(t, doctor.Missing, found.State)
	require.Contains(t, found.Says, "cannot be reached: nobody there")
	require.Equal(t, "is the network, or its proxy, there?", found.Mend)

	found = doctor.ECR{Load: config("http://127.0.0.1:1")}.Look(t.Context())
	require.Equal(t, doctor.Missing, found.State)
	require.Contains(t, found.Says, "http://127.0.0.1:1")

	none := func(context.Context) (aws.Config, error) { return aws.Config{}, errors.New("none") }
	require.Equal(t, doctor.Finding{State: doctor.Missing, Says: "not asked, for want of credentials"}, doctor.ECR{Load: none}.Look(t.Context()))
}
