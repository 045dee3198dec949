package infratest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/outputtest"
)

// program is a running program of the AWS provider.
type program struct {
	variable string // TF_REATTACH_PROVIDERS
	process  *os.Process
	ended    chan error
}

// programs are shared by all workspaces: Terraform hashes the provider's 700 MB whenever it
// installs it, and would start it anew for each plan. They are there as long as any workspace.
var programs struct {
	sync.Mutex
	workspaces int
	dir        string                // where the provider is installed
	path       string                // of the provider, or ""
	free       map[string][]*program // by environment
}

// joinPrograms counts a test's workspace.
func joinPrograms(t testing.TB) {
	programs.Lock()
	defer programs.Unlock()
	programs.workspaces++
	t.Cleanup(func() {
		programs.Lock()
		defer programs.Unlock()
		if programs.workspaces--; programs.workspaces > 0 {
			return
		}
		for _, free := range programs.free {
			for _, p := range free {
				_ = p.process.Kill() // it may have ended
				<-p.ended
			}
		}
		_ = os.RemoveAll(programs.dir)
		programs.dir, programs.path, programs.free = "", "", nil
	})
}

// attach gives the workspace a program of the provider for all that Terraform does in it.
// Terraform then installs none, nor checks its version.
// https://developer.hashicorp.com/terraform/plugin/debugging
func (w *Workspace) attach() {
	w.t.Helper()
	if w.attached {
		return
	}
	programs.Lock()
	defer programs.Unlock()
	if programs.path == "" {
		w.install()
	}
	environment := strings.Join(w.env, "\n")
	var p *program
	if free := programs.free[environment]; len(free) > 0 {
		p = free[len(free)-1]
		programs.free[environment] = free[:len(free)-1]
	} else {
		p = w.start(programs.path)
	}
	w.t.Cleanup(func() {
		programs.Lock()
		defer programs.Unlock()
		if programs.free == nil {
			programs.free = map[string][]*program{}
		}
		programs.free[environment] = append(programs.free[environment], p)
	})
	w.env, w.attached = append(slices.Clone(w.env), "TF_REATTACH_PROVIDERS="+w.proxied(p.variable, programs.path)), true
}

// install installs the provider as the repository's lock file has it.
func (w *Workspace) install() {
	w.t.Helper()
	dir, err := os.MkdirTemp("", "provider")
	require.NoError(w.t, err)
	programs.dir = dir
	require.NoError(w.t, os.CopyFS(dir, Source()))
	(&Workspace{Dir: dir, t: w.t, env: w.env}).Install("-backend=false", "-lockfile=readonly")
	paths, err := filepath.Glob(filepath.Join(dir, ".terraform/providers/registry.terraform.io/hashicorp/aws/*/*/terraform-provider-aws*"))
	require.NoError(w.t, err)
	require.Len(w.t, paths, 1)
	programs.path = paths[0]
}

// start starts a program of the provider.
func (w *Workspace) start(path string) *program {
	w.t.Helper()
	attachment := make(chan string, 1)
	output := outputtest.NewMatchWriter(`TF_REATTACH_PROVIDERS='(.*)'`, func(match []string) { attachment <- match[1] })
	command := exec.Command(path, "-debug")
	// It is configured again and again, which it does not take with a bundle of certificates.
	command.Env, command.Stdout = append(slices.Clone(w.env), "AWS_CA_BUNDLE="), output
	for _, log := range []string{"SDK", "SDK_FRAMEWORK", "SDK_HELPER_SCHEMA", "SDK_MUX", "SDK_PROTO", "PROVIDER", "PROVIDER_AWS"} {
		command.Env = append(command.Env, "TF_LOG_"+log+"=off") // else it writes all that it does
	}
	require.NoError(w.t, command.Start())
	p := &program{process: command.Process, ended: make(chan error, 1)}
	go func() { p.ended <- command.Wait() }()
	select {
	case p.variable = <-attachment:
		return p
	case err := <-p.ended:
		require.FailNow(w.t, "the provider ended", "%v\n%s", err, output)
	case <-w.t.Context().Done():
		_ = p.process.Kill()
		<-p.ended
		require.FailNow(w.t, "the provider did not start")
	}
	return nil
}

// proxied returns a value of TF_REATTACH_PROVIDERS with a proxy's address for the provider's.
func (w *Workspace) proxied(variable, path string) string {
	w.t.Helper()
	var providers map[string]struct{ Addr struct{ String string } }
	require.NoError(w.t, json.Unmarshal([]byte(variable), &providers))
	require.Len(w.t, providers, 1)
	for _, provider := range providers {
		address := provider.Addr.String
		variable = strings.Replace(variable, address, serveProxy(w.t, address, path, w.Dir), 1)
	}
	return variable
}
