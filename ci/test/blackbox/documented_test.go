package blackbox

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/sts"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal/rehearsaltest"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// documented is a line of the manual or a workflow step that calls the module.
type documented struct{ Where, Line string }

// documentedLines returns all lines that call the module, in order. Package manual writes them
// to the file, so that another word in docs does not link and run these tests again.
func documentedLines(t *testing.T) (all []documented) {
	t.Helper()
	text, err := os.ReadFile("testdata/lines.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &all))
	return all
}

// parsedOnly are the lines that cannot be executed here and are only parsed, with the
// reason.
var parsedOnly = []struct{ line, because string }{
	{` (check report|lint)( |$)`, "it fails without a network, where linters come from"},
	{` --require-signature `, "signatures are known by Sigstore"},
	{` lock( |$)`, "it asks registries of the network"},
	{` scan( |$)`, "Trivy's database comes from the network"},
	{` rehearse( |$)`, "it takes minutes, and TestByReference does it"},
	{` rehearse-infra( |$)`, "the tree is not this one, whose Terraform it tests"},
	{` up up$`, "it serves until it is interrupted"},
}

// notExecuted returns why a line cannot be executed, or "" if it can.
func notExecuted(line string, withoutTerraform bool) string {
	line, _, _ = strings.Cut(line, " #") // a comment
	for _, only := range parsedOnly {
		if regexp.MustCompile(only.line).MatchString(line) {
			return only.because
		}
	}
	if withoutTerraform && regexp.MustCompile(` (plan|apply|validate|fmt)( |$)`).MatchString(line) {
		return "Terraform's image cannot be had"
	}
	return ""
}

// inMoto matches the lines about the platform, whose state is in moto. All others are
// about the services.
var inMoto = regexp.MustCompile(` (plan|apply)( |$)`)

// readings are the values of the manual's placeholders.
var readings = strings.NewReplacer(
	"tcp://127.0.0.1:4566", "$EMULATOR", "=… ", "='cmd://aws configure export-credentials --format process' ", "… ", "", "=ARN ", "=$AWS_ROLE ", "=SHA ", "=$GITHUB_SHA ", "=DIR ", `="$RUNNER_TEMP/plan" `,
	"call build ", "call build --without-base ", // the registry of the base images is unreachable
)

// shim replaces dagger on the PATH and adds what the manual assumes: the module, and an
// emulator instead of AWS. To only parse a line, it appends a function that does not
// exist: the real parser reads and converts all flags before it reports that function,
// and executes nothing.
const shim = `#!/bin/sh
[ "$1" = -m ] && shift 2 # of dagger-module
[ "$1" = call ] && shift || exit 64
exec "$DAGGER" --progress=plain call -m "$MODULE" --aws="$EMULATOR" "$@" $BEYOND
`

const beyond = "there-is-no-such-function"

// TestDocumentedLines runs every line of the manual and of the workflows that calls the
// module, with the real dagger command in a shell. The tree is small, its services run
// in an embedded AWS, and its platform is in moto.
func TestDocumentedLines(t *testing.T) {
	lines := documentedLines(t)
	require.Greater(t, len(lines), 30)
	if why := noEngine(t); why != "" {
		t.Skipf("%d documented lines are neither executed nor parsed: %s", len(lines), why)
	}
	_, err := connect(t).Container().From("docker.io/hashicorp/terraform:1.11.4").Sync(t.Context())
	withoutTerraform := err != nil

	tree := documentedTree(t)
	rehearsaltest.Deliver(t, tree, func(endpoint string, _ report.Release) {
		moto := startMotoWithIssuer(t)
		// The lines so far were built for this machine's platform only; a new commit is
		// built for all platforms.
		sourcetest.Write(t, tree, "web/site/index.html", "<!doctype html><title>two</title>")
		sourcetest.Commit(t, tree, "to be released")
		environment := documentedEnvironment(t, tree)
		run := func(line string, more ...string) (string, error) {
			emulator := endpoint
			if inMoto.MatchString(line) {
				emulator = moto
			}
			// As GitHub's runners do: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax
			cmd := exec.CommandContext(t.Context(), "bash", "-e", "-c", readings.Replace(line+" "))
			cmd.Dir = tree
			cmd.Env = slices.Concat(os.Environ(), environment, []string{
				"EMULATOR=" + strings.Replace(emulator, "http", "tcp", 1), "ACTIONS_ID_TOKEN_REQUEST_URL=" + emulator + sts.IdentityPath + "?v=1",
			}, more)
			var said bytes.Buffer
			cmd.Stderr = &said
			_, err := cmd.Output()
			return said.String(), err
		}
		said, err := run("dagger call publish report") // so that the commit can be released by its id alone
		require.NoError(t, err, said)
		seen, executed, parsed := map[string]bool{}, 0, 0
		for _, l := range lines {
			because := notExecuted(l.Line, withoutTerraform)
			if because == "" {
				executed++
			} else {
				parsed++
			}
			switch {
			case seen[l.Line]:
			case because == "":
				if strings.Contains(l.Line, " apply ") { // the plan to apply
					said, err := run(`dagger call plan directory --output="$RUNNER_TEMP/plan"`)
					require.NoError(t, err, said)
				}
				said, err := run(l.Line)
				if err != nil { // the other lines are executed all the same
					t.Errorf("%s: %s: %v\n%s", l.Where, l.Line, err, said)
				}
				t.Logf("executed: %s: %s", l.Where, l.Line)
			default:
				said, err := run(l.Line, "BEYOND="+beyond)
				require.Error(t, err)
				assert.Regexp(t, `unknown command "`+beyond+`" for "dagger call [a-z]`, said, "%s: %s", l.Where, l.Line)
				t.Logf("parsed: %s: %s (%s)", l.Where, l.Line, because)
			}
			seen[l.Line] = true
		}
		t.Logf("documented lines: %d executed, %d parsed, %d in all (%d different)", executed, parsed, len(lines), len(seen))
	})
}

// documentedTree creates a small tree with everything that the lines refer to: a tested
// service backend, a platform, and the script of the workflows.
func documentedTree(t *testing.T) string {
	t.Helper()
	tree := platformTree(t, "resource \"terraform_data\" \"a\" {}\n")
	sourcetest.Write(t, tree, "terraform/main.tf", strings.Replace(readFile(t, tree, "terraform/main.tf"), `"s3" {`, "\"s3\" {\n    bucket       = \"state\"\n    region       = \"us-east-1\"", 1))
	sourcetest.Write(t, tree, "terraform/services.auto.tfvars.json", strings.Replace(sourcetest.Services, `"api": {"path"`, `"backend": {"path"`, 1))
	// The server's own branches that end the process cannot be covered.
	sourcetest.Write(t, tree, "api/sum.go", "package main\n\nfunc sum(values ...int) (total int) {\n\tfor _, value := range values {\n\t\ttotal += value\n\t}\n\tif total < 0 {\n\t\ttotal = 0\n\t}\n\treturn total\n}\n")
	sourcetest.Write(t, tree, "api/main_test.go", `package main

import (
	"net"
	"net/http"
	"os"
	"testing"
)

func TestSum(t *testing.T) {
	if sum(1, 2) != 3 || sum(-1) != 0 {
		t.Fatal(sum(1, 2), sum(-1))
	}
}

func TestTask(t *testing.T) {
	os.Args = []string{"server", "sleep", "1ns"}
	main()
}

func TestServer(t *testing.T) {
	os.Args = os.Args[:1] // with arguments it is a one-off task
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	_, port, _ := net.SplitHostPort(address)
	t.Setenv("PORT", port)
	go main()
	for path, want := range map[string]int{"/health": 200, "/api/": 200, "/": 404} {
		response, err := http.Get("http://" + address + path)
		for err != nil { // it is starting
			response, err = http.Get("http://" + address + path)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Fatal(path, response.StatusCode)
		}
	}
}
`)
	sourcetest.Write(t, tree, "terraform/environments/staging.tfvars.json", `{"environment": "staging"}`)
	sourcetest.Commit(t, tree, "documented")
	return tree
}

func readFile(t *testing.T, root, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	require.NoError(t, err)
	return string(text)
}

// documentedEnvironment returns the environment of a runner as the workflows set it,
// and the programs of a laptop.
func documentedEnvironment(t *testing.T, tree string) []string {
	t.Helper()
	bin, temp := t.TempDir(), t.TempDir()
	for name, script := range map[string]string{
		"dagger": shim,
		"aws":    "#!/bin/sh\necho '{\"Version\": 1, \"AccessKeyId\": \"any\", \"SecretAccessKey\": \"any\"}'\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755))
	}
	dagger, err := exec.LookPath("dagger")
	require.NoError(t, err)
	module, err := filepath.Abs(sourcetest.Repository())
	require.NoError(t, err)
	sha := strings.TrimSpace(sourcetest.Git(t, tree, "rev-parse", "HEAD"))
	return []string{
		"PATH=" + strings.Join([]string{bin, filepath.Join(module, ".github", "actions", "setup", "bin"), os.Getenv("PATH")}, string(filepath.ListSeparator)), "DAGGER=" + dagger, "MODULE=" + module, "BEYOND=",
		"RUNNER_TEMP=" + temp, "GITHUB_OUTPUT=" + filepath.Join(temp, "output"), "GITHUB_STEP_SUMMARY=" + filepath.Join(temp, "summary"),
		"GITHUB_SHA=" + sha, "GITHUB_RUN_ID=1", "GITHUB_SERVER_URL=https://github.com", "GITHUB_WORKFLOW_REF=local/local/.github/workflows/ci.yml@refs/heads/main",
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN=any", "AWS_ROLE=arn:aws:iam::000000000000:role/ci", "AWS_REGION=us-east-1", "STATE_BUCKET=state", "SINCE=" + sha, "TO=", "PULL_REQUEST=7", "DOMAIN=", "ENVIRONMENT=staging",
	}
}

// startMotoWithIssuer starts moto with an OIDC issuer of job tokens on the same port,
// and returns its address.
func startMotoWithIssuer(t *testing.T) string {
	t.Helper()
	behind, err := url.Parse(startMoto(t))
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc(sts.IdentityPath, sts.ServeIdentity)
	mux.Handle("/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(behind); r.Out.Host = r.In.Host }})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}
