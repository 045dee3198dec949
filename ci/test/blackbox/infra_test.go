package blackbox

import (
	"net/http"
	"strings"
	"testing"

	sdk "dagger.io/dagger"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/infra/mototest"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// platformTree creates a small tree with a platform whose state is in S3.
func platformTree(t *testing.T, resource string) string {
	t.Helper()
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, "ci/images.lock.json", `{"images": {"go": {"reference": "docker.io/library/golang:1.26"}, "nginx": {"reference": "127.0.0.1:1/nginx:stable"}, "terraform": {"reference": "docker.io/hashicorp/terraform:1.11.4"}}}`)
	sourcetest.Write(t, dir, "terraform/main.tf", "terraform {\n  backend \"s3\" {\n    key          = \"platform.tfstate\"\n    use_lockfile = true\n  }\n}\n\n"+resource)
	sourcetest.Write(t, dir, "terraform/.terraform.lock.hcl", "")
	sourcetest.Commit(t, dir, "a platform")
	return dir
}

// startMoto starts moto and returns its address.
func startMoto(t *testing.T) string {
	t.Helper()
	endpoint, _ := mototest.Start(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, endpoint+"/state", nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=any/20260501/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=any")
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, http.StatusOK, answer.StatusCode)
	return endpoint
}

// needsImage skips a test if the engine cannot pull an image.
func needsImage(t *testing.T, reference string) {
	t.Helper()
	if _, err := connect(t).Container().From(reference).Sync(t.Context()); err != nil {
		t.Skipf("the engine cannot have %s: connect it to a registry that has it", reference)
	}
}

func TestPlatform(t *testing.T) {
	client := connect(t)
	needsImage(t, "docker.io/hashicorp/terraform:1.11.4")
	endpoint := startMoto(t)
	const planted = "pl4nted-password-of-the-platform"
	dir := platformTree(t, `variable "password" {
  type      = string
  sensitive = true
  default   = "`+planted+`"
}

resource "terraform_data" "a" {
  input = var.password
}
`)
	aws, err := client.Host().Service(ports(t, endpoint), sdk.HostServiceOpts{Host: "127.0.0.1"}).ID(t.Context())
	require.NoError(t, err)
	p := newPipeline(t, dir).with("aws", aws)
	const backend = `backendConfig: ["bucket=state", "region=us-east-1"]`

	var planned struct {
		Plan struct {
			HasChanges      bool
			Summary, Report string
			Directory       struct {
				ID      string
				Entries []string
				File    struct{ Contents string }
			}
		}
	}
	plan := `plan(` + backend + `) { hasChanges summary report directory { id entries file(path: "outputs") { contents } } }`
	require.NoError(t, p.call(plan, &planned))
	require.True(t, planned.Plan.HasChanges)
	require.Contains(t, planned.Plan.Summary, "terraform_data.a")
	require.Equal(t, "changes=true\n", planned.Plan.Directory.File.Contents)
	require.Subset(t, planned.Plan.Directory.Entries, []string{"binding.json", "plan.json", "summary.md", "tfplan"})

	var applied struct{ Apply struct{ Report string } }
	apply := p.with("plan", sdk.DirectoryID(planned.Plan.Directory.ID))
	apply.arguments = p.arguments // the plan is an argument of the function, not of the constructor
	require.NoError(t, apply.call(`apply(plan: $plan) { report }`, &applied))
	require.Contains(t, applied.Apply.Report, "terraform_data.a")
	require.ErrorContains(t, apply.call(`apply(plan: $plan) { report }`, &applied), "this plan was already applied", "the same call twice is two runs")

	require.NoError(t, p.call(plan, &planned))
	require.False(t, planned.Plan.HasChanges, "%s", planned.Plan.Report)
	require.NoError(t, p.call(`plan(`+backend+`, refreshOnly: true) { hasChanges directory { id file(path: "outputs") { contents } entries } }`, &planned))
	require.Equal(t, "changes=false\n", planned.Plan.Directory.File.Contents)
	require.NotContains(t, session.said.String()+planned.Plan.Report+applied.Apply.Report, planted, "state and plan have it in clear, and nobody else")
}

func TestValidate(t *testing.T) {
	needsImage(t, "docker.io/hashicorp/terraform:1.11.4")
	var got struct{ Validate string }
	require.NoError(t, newPipeline(t, platformTree(t, "resource \"terraform_data\" \"a\" {}\n")).call(`validate`, &got))
	err := newPipeline(t, platformTree(t, "resource \"terraform_data\" \"a\" {\n  nonsense = 1\n}\n")).call(`validate`, &got)
	require.ErrorContains(t, err, "terraform/main.tf:9")
	require.ErrorContains(t, err, "nonsense")
}

// TestFormat formats a tree, and then finds nothing left to format.
func TestFormat(t *testing.T) {
	needsImage(t, "docker.io/hashicorp/terraform:1.11.4")
	dir := platformTree(t, "locals{\n  a=1\n}\n")
	var got struct {
		Fmt struct {
			ModifiedPaths []string
			After         struct{ File struct{ Contents string } }
		}
	}
	p := newPipeline(t, dir)
	require.NoError(t, p.call(`fmt { modifiedPaths after { file(path: "terraform/main.tf") { contents } } }`, &got))
	require.Contains(t, got.Fmt.ModifiedPaths, "terraform/main.tf")
	require.Contains(t, got.Fmt.After.File.Contents, "  a = 1\n")
	require.ErrorContains(t, p.call(`checkFmt`, &struct{}{}), "terraform/main.tf")
}

func TestPublishAndImage(t *testing.T) {
	inPlatform(t, func(dir string, p pipeline) {
		sourcetest.Write(t, dir, "web/site/index.html", "<!doctype html><title>published</title>")
		sourcetest.Commit(t, dir, "to be published")
		var got struct{ Publish struct{ Report, Json string } }
		require.NoError(t, p.call(`publish { report json }`, &got))
		require.Contains(t, got.Publish.Report, "web          pushed")
		require.NoError(t, p.call(`publish { report json }`, &got))
		require.Contains(t, got.Publish.Report, "web          unchanged")

		var run struct {
			Image struct{ Entrypoint []string }
		}
		require.NoError(t, p.call(`image(service: "api") { entrypoint }`, &run))
		require.Equal(t, []string{"/server"}, run.Image.Entrypoint)
	})
}

func TestLint(t *testing.T) {
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, "api/main.go", strings.Replace(sourcetest.Files()["api/main.go"], "package main", "package  main", 1))
	sourcetest.Commit(t, dir, "badly formatted")
	err := newPipeline(t, dir).call(`lint(only: ["gofumpt"]) { report }`, &struct{}{})
	require.ErrorContains(t, err, "api/main.go:1")
	require.ErrorContains(t, newPipeline(t, dir).call(`lint(only: ["gofunpt"]) { report }`, &struct{}{}), "gofumpt", "a suggestion")
}

// TestLintWithoutImage: a tool whose image cannot be pulled is missing, as on a host.
func TestLintWithoutImage(t *testing.T) {
	p := newPipeline(t, platformTree(t, ""))
	var got struct {
		Lint struct{ Result, Report string }
	}
	require.NoError(t, p.call(`lint(only: ["nginx"], lenient: true) { result report }`, &got))
	require.Equal(t, "succeeded", got.Lint.Result)
	const line = `nginx web: skipped: image 127\.0\.0\.1:1/nginx:stable cannot be pulled: .+: connect the engine to its registry or to a mirror, or correct the reference in ci/images\.lock\.json\n`
	require.Regexp(t, "^"+line+"nothing found in 0 checks; 1 check skipped\n$", got.Lint.Report)
	require.Regexp(t, line+"nothing found in 0 checks; 1 check skipped, which counts as failed", p.call(`lint(only: ["nginx"]) { report }`, &got).Error())
}

func TestChanges(t *testing.T) {
	dir := sourcetest.New(t)
	var got struct {
		Changes struct{ Outputs, Report string }
	}
	require.NoError(t, newPipeline(t, dir).call(`changes { outputs report }`, &got))
	require.Contains(t, got.Changes.Outputs, "deploy=true")
}
