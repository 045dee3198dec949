package blackbox

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// TestCheckouts calls the module from another repository in every kind of git checkout:
// the module uses the tree of the caller, or reports in one line why it cannot.
func TestCheckouts(t *testing.T) {
	needsEngine(t)
	origin := sourcetest.New(t)
	first := strings.TrimSpace(sourcetest.Git(t, origin, "rev-parse", "HEAD"))
	sourcetest.Write(t, origin, "README.md", "two")
	sourcetest.Commit(t, origin, "second")
	sourcetest.Git(t, origin, "config", "uploadpack.allowFilter", "true")
	made := func(args ...string) string {
		there := filepath.Join(t.TempDir(), "there")
		sourcetest.Git(t, origin, append(args, there)...)
		return there
	}
	super := t.TempDir()
	sourcetest.Git(t, super, "init", "-q")
	sourcetest.Git(t, super, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", origin, "sub")

	const nothing, everything, elsewhere = "none affects a release or the platform", "everything counts as changed", "the source tree is a linked worktree or a submodule"
	for name, tt := range map[string]struct{ from, want string }{
		"the root":             {origin, nothing},
		"a folder":             {filepath.Join(origin, "web", "site"), nothing},
		"a clone":              {made("clone", "-q", "."), nothing},
		"a shallow clone":      {made("clone", "-q", "--depth=1", "file://"+origin), everything},
		"a blobless clone":     {made("clone", "-q", "--filter=blob:none", "file://"+origin), nothing},
		"a treeless clone":     {made("clone", "-q", "--filter=tree:0", "file://"+origin), everything},
		"a clone that borrows": {made("clone", "-q", "--shared", "."), everything},
		"a linked worktree":    {made("worktree", "add", "-q", "--detach"), elsewhere},
		"a submodule":          {filepath.Join(super, "sub"), elsewhere},
		"around a submodule":   {super, "no services file"},
		"no repository":        {t.TempDir(), "no git repository here"},
	} {
		t.Run(name, func(t *testing.T) {
			_, all, _ := call(t, tt.from, sourcetest.Repository(), "changes", "--since="+first, "report") // calls may fail; the output is checked
			require.Contains(t, all, tt.want)
		})
	}
}
