package changes_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/changes"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// kinds are services of which one is built from a Dockerfile and one is prebuilt.
const kinds = `{"services": {
  "app":   {"kind": "dockerfile", "path": "app", "dockerfile": "../docs/app.Dockerfile", "cpu": 256, "memory": 512, "desired_count": 1},
  "cache": {"kind": "image", "image": "redis:8", "cpu": 256, "memory": 512, "desired_count": 1}
}}`

// inRoot are services in the root of the tree, of which one has files in its image.
const inRoot = `{"services": {
  "app":  {"kind": "go", "path": ".", "main": ".", "files": ["terms.md", "LICENSE", "terraform/rules"], "cpu": 256, "memory": 512, "desired_count": 1},
  "site": {"kind": "nginx", "path": ".", "cpu": 256, "memory": 512, "desired_count": 1}
}}`

func TestSince(t *testing.T) {
	tests := map[string]struct {
		files        []string
		deploy, plan bool
		services     string
	}{
		"nothing":                        {nil, false, false, ""},
		"documentation":                  {[]string{"README.md", "docs/adr/1.md", "docs/picture.svg", "LICENSE", "ci/NOTES.MD", "web/README.md"}, false, false, ""},
		"documentation of the platform":  {[]string{"terraform/README.md"}, false, false, ""},
		"workflows":                      {[]string{".github/workflows/ci.yml", ".github/CODEOWNERS"}, false, false, ""},
		"a service":                      {[]string{"api/main.go"}, true, false, ""},
		"a page in Markdown":             {[]string{"web/site/about.md"}, true, false, ""},
		"a README deeper in a service":   {[]string{"web/site/README.md"}, true, false, ""},
		"a folder that only begins like": {[]string{"api-notes/README.md"}, false, false, ""},
		"the pipeline":                   {[]string{"ci/internal/images/image/image.go"}, true, false, ""},
		"the base images":                {[]string{"ci/images.lock.json"}, true, false, ""},
		"something new at the root":      {[]string{"Makefile"}, true, false, ""},
		"the platform":                   {[]string{"terraform/alb.tf"}, false, true, ""},
		"the provider's lock file":       {[]string{"terraform/.terraform.lock.hcl"}, false, true, ""},
		"an environment":                 {[]string{platform.EnvironmentsDir + "/staging.tfvars.json"}, true, true, ""},
		"a README of the environments":   {[]string{platform.EnvironmentsDir + "/README.md"}, false, false, ""},
		"the services file":              {[]string{platform.ServicesFile}, true, true, ""},
		"a README in a build context":    {[]string{"app/README.md"}, true, false, kinds},
		"a Dockerfile elsewhere":         {[]string{"docs/app.Dockerfile"}, true, false, kinds},
		"a README of an image":           {[]string{"cache/README.md"}, false, false, kinds},
		"a page in the root":             {[]string{"about.md"}, true, false, inRoot},
		"a page below docs":              {[]string{"docs/index.html"}, true, false, inRoot},
		"a README in the root":           {[]string{"README.md"}, false, false, inRoot},
		"files of an image":              {[]string{"terms.md"}, true, false, inRoot},
		"the license in an image":        {[]string{"LICENSE"}, true, false, inRoot},
		"an image's file of Terraform":   {[]string{"terraform/rules/a.md"}, true, false, inRoot},
		"the platform of the root":       {[]string{"terraform/alb.tf"}, false, true, inRoot},
		"documentation, then the rest":   {[]string{"README.md", "api/main.go", "terraform/alb.tf"}, true, true, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := sourcetest.New(t)
			if tt.services != "" {
				sourcetest.Write(t, dir, platform.ServicesFile, tt.services)
				sourcetest.Write(t, dir, "app/main.py", "")
				sourcetest.Write(t, dir, "go.mod", "module m\n")
				sourcetest.Write(t, dir, "index.html", "")
				sourcetest.Write(t, dir, "docs/app.Dockerfile", "FROM scratch")
				sourcetest.Commit(t, dir, "services")
			}
			before := head(t, dir)
			for _, file := range tt.files {
				content := "changed"
				if file == platform.ServicesFile {
					content = sourcetest.Services + "\n"
				}
				sourcetest.Write(t, dir, file, content)
			}
			if tt.files != nil {
				sourcetest.Commit(t, dir, "change")
			}
			c := since(t, dir, before)
			require.Equal(t, tt.deploy, c.Deploy, "deploy: %s", c.Reason)
			require.Equal(t, tt.plan, c.Plan, "plan: %s", c.Reason)
			require.Contains(t, c.Reason, " changed since "+before)
			require.NotContains(t, c.Reason, "\n")
		})
	}
}

func TestSinceUnknownCommit(t *testing.T) {
	dir := sourcetest.New(t)
	for _, commit := range []string{"", strings.Repeat("0", 40), strings.Repeat("ab", 20)} {
		c := since(t, dir, commit)
		require.True(t, c.Deploy)
		require.True(t, c.Plan)
		require.Contains(t, c.Reason, "everything counts as changed")
	}
}

func TestSinceCancelled(t *testing.T) {
	dir := sourcetest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := changes.Since(ctx, source.Tree{Dir: dir}, platform.Platform{}, head(t, dir))
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "comparing with "+head(t, dir))
}

func TestOutputs(t *testing.T) {
	require.Equal(t, "deploy=true\nplan=false\n", changes.Changes{Deploy: true}.Outputs())
}

func head(t *testing.T, dir string) string {
	return strings.TrimSpace(sourcetest.Git(t, dir, "rev-parse", "HEAD"))
}

func since(t *testing.T, dir, commit string) changes.Changes {
	t.Helper()
	p, err := platform.Load(dir)
	require.NoError(t, err)
	c, err := changes.Since(t.Context(), source.Tree{Dir: dir}, p, commit)
	require.NoError(t, err)
	return c
}
