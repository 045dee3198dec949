package doctor

import (
	"cmp"
	"context"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"dagger/slipway/internal/awsauth"
	"dagger/slipway/internal/gotest"
	"dagger/slipway/internal/step"
	"dagger/slipway/internal/tool"
)

// grace is how long a program may take to end after its time is over.
const grace = 200 * time.Millisecond

// defaultDatabase is that of Go's vulnerabilities, which lint asks.
const defaultDatabase = "https://vuln.go.dev"

// Machine are the probes of this machine and of the source tree at dir. The
// carrier asks registries and databases.
func Machine(dir string, carrier http.RoundTripper) []Probe {
	host := step.Host{Source: os.TempDir(), Grace: grace}
	program := func(name, words, get string, args ...string) Program {
		return Program{Called: name, Args: args, Version: versionAfter(words), Get: get, Exec: host}
	}
	return []Probe{
		Go{program("go", `go version go`, "install it from https://go.dev/dl", "go", "version"), dir},
		program("git", `git version `, "install it (apt-get install git)", "git", "--version"),
		Compiler{gotest.RaceSupported},
		program("terraform", `Terraform `, tool.Terraform.Get, "terraform", "version"),
		program("nginx", `nginx/`, tool.Nginx.Get, "nginx", "-v"),
		program("trivy", `Version: `, tool.Trivy.Get, "trivy", "--version"),
		program("syft", `Version: `, tool.Syft.Get, "syft", "version"),
		program("cosign", `GitVersion: `, tool.Cosign.Get, "cosign", "version"),
		Tools{tool.Compiled(), host},
		Docker{host},
		program("compose", `Docker Compose version `, "install it from https://docs.docker.com/compose/install", "docker", "compose", "version"),
		Dagger{program("dagger", `dagger `, "install it from https://docs.dagger.io/install", "dagger", "version"), dir},
		Engine{os.Getenv(RunnerHost), host},
		Registry{dir, carrier},
		Database{cmp.Or(os.Getenv("GOVULNDB"), defaultDatabase), carrier},
		Credentials{awsauth.Caller{Once: true}, time.Now},
		ECR{func(ctx context.Context) (aws.Config, error) { return awsauth.Load(ctx, awsauth.Options{}) }, carrier},
		Tree{dir},
		Clean{Tree{dir}},
		Services{dir},
		Lock{dir},
		Digests{Lock{dir}},
	}
}
