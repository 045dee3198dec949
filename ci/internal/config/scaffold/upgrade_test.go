package scaffold_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/scaffold"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
	"github.com/slipway-cd/slipway/ci/internal/version"
)

var releases = version.Releases{{Version: "v1.3.0", Notes: "- third"}, {Version: "v1.2.10", Notes: ""}, {Version: "v1.2.3", Notes: "- first"}}

func TestUpgrade(t *testing.T) {
	dir := repository(t, goService("."))
	_, err := initialize(t, dir, scaffold.InitOptions{})
	require.NoError(t, err)
	for name, content := range map[string]string{
		"terraform/environments/two.tf": "module \"x\" { source = \"git::https://github.com/slipway-cd/slipway.git//terraform/modules/platform?depth=1&ref=v1.2.0\" }\n",
		".github/workflows/old.yaml":    "uses: slipway-cd/slipway/.github/actions/credentials@v1.2.10\nuses: slipway-cd/slipway/.github/workflows/drift.yml@main\nuses: actions/checkout@v4\n",
		"tools/dagger.json":             `{"dependencies": [{"name": "slipway", "source": "github.com/slipway-cd/slipway@v1.2.3", "pin": "0123abc"}, {"name": "x", "source": "github.com/x/y@v1.2.3", "pin": "4567"}]}`,
		"README.md":                     "slipway-cd/slipway@v1.2.3",
	} {
		sourcetest.Write(t, dir, name, content)
	}
	before := files(t, dir)
	tree := source.Tree{Dir: dir}
	checked, err := scaffold.Upgrade(t.Context(), tree, "v1.3.0", scaffold.UpgradeOptions{Known: releases, Check: true})
	require.NoError(t, err)
	require.True(t, checked.Stale())
	require.Equal(t, before, files(t, dir), "a check writes nothing")

	upgraded, err := scaffold.Upgrade(t.Context(), tree, "v1.3.0", scaffold.UpgradeOptions{Known: releases})
	require.NoError(t, err)
	require.Equal(t, "v1.2.0", upgraded.From)
	require.Len(t, upgraded.Pins, 10)
	require.Equal(t, []string{"v1.3.0", "v1.2.10", "v1.2.3"}, []string{upgraded.Changes[0].Version, upgraded.Changes[1].Version, upgraded.Changes[2].Version})
	after := files(t, dir)
	require.Equal(t, "module \"x\" { source = \"git::https://github.com/slipway-cd/slipway.git//terraform/modules/platform?depth=1&ref=v1.3.0\" }\n", after["terraform/environments/two.tf"])
	require.Equal(t, "uses: slipway-cd/slipway/.github/actions/credentials@v1.3.0\nuses: slipway-cd/slipway/.github/workflows/drift.yml@main\nuses: actions/checkout@v4\n", after[".github/workflows/old.yaml"])
	require.JSONEq(t, `{"dependencies": [{"name": "slipway", "source": "github.com/slipway-cd/slipway@v1.3.0"}, {"name": "x", "source": "github.com/x/y@v1.2.3", "pin": "4567"}]}`, after["tools/dagger.json"])
	for _, name := range []string{"terraform/main.tf", "terraform/bootstrap/main.tf", ".github/workflows/ci.yml", "dagger.json"} {
		require.Contains(t, after[name], "v1.3.0", name)
		require.NotContains(t, after[name], "v1.2.3", name)
	}
	require.Equal(t, before["README.md"], after["README.md"])

	var text, markdown, document bytes.Buffer
	require.NoError(t, upgraded.Text(&text))
	require.Contains(t, text.String(), "moved from v1.2.0 to v1.3.0\n")
	require.Contains(t, text.String(), "  dagger.json:7  v1.2.3 → v1.3.0\n")
	require.Contains(t, text.String(), "\nv1.3.0\n\n- third\n\nv1.2.10\n\nno notes\n")
	require.NoError(t, checked.Markdown(&markdown))
	require.Contains(t, markdown.String(), "not all files name v1.3.0: run slipway upgrade --to v1.3.0\n")
	require.NoError(t, upgraded.JSON(&document))

	again, err := scaffold.Upgrade(t.Context(), tree, "v1.3.0", scaffold.UpgradeOptions{Known: releases})
	require.NoError(t, err)
	require.False(t, again.Stale())
	require.Equal(t, after, files(t, dir))
	back, err := scaffold.Upgrade(t.Context(), tree, "v1.2.3", scaffold.UpgradeOptions{Known: releases})
	require.NoError(t, err)
	require.Empty(t, back.Changes)
	require.Contains(t, files(t, dir)["dagger.json"], "v1.2.3")
}

func TestUpgradeBadInput(t *testing.T) {
	elsewhere, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	sourcetest.Write(t, elsewhere, "main.tf", "")
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no reference": {goService("."), "refers to github.com/slipway-cd/slipway by a version: run slipway init, or name another tree with --source"},
		"a link to another tree": {
			map[string]string{"dagger.json": `"github.com/slipway-cd/slipway@v1.2.3"`, "terraform.link": elsewhere},
			"terraform/main.tf is a link to " + filepath.Join(elsewhere, "main.tf") + ", in another tree: run slipway upgrade there",
		},
		"a commit": {
			map[string]string{"terraform/main.tf": "ref=\n", ".github/workflows/ci.yml": "a\nuses: slipway-cd/slipway/.github/workflows/deliver.yml@0123456789012345678901234567890123456789 # v1.2.3\n"},
			".github/workflows/ci.yml:2 refers to slipway by the commit 012345678901: write a version such as v1.3.0, or move it by hand",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := repository(t, tt.files)
			if link, ok := tt.files["terraform.link"]; ok {
				require.NoError(t, os.Symlink(link, filepath.Join(dir, "terraform")))
			}
			before := files(t, dir)
			_, err := scaffold.Upgrade(t.Context(), source.Tree{Dir: dir}, "v1.3.0", scaffold.UpgradeOptions{Known: releases})
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, outcome.Usage, outcome.Of(err))
			require.NotContains(t, err.Error(), "\n")
			require.Equal(t, before, files(t, dir))
		})
	}
}
