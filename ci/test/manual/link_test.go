package manual_test

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLinks: what is linked within the repository is there, heading included; what is
// elsewhere is at least an address by HTTPS, or on this machine.
func TestLinks(t *testing.T) {
	all := map[string]page{}
	for _, p := range pages(t) {
		all[p.name] = p
	}
	checked := 0
	for _, p := range all {
		for _, l := range p.links {
			checked++
			to, err := url.Parse(l.target)
			require.NoError(t, err, "%s:%d", p.name, l.line)
			if to.Scheme != "" {
				here := to.Scheme == "http" && (to.Hostname() == "localhost" || strings.HasPrefix(to.Host, "127.0.0.1"))
				require.True(t, here || to.Scheme == "mailto" || to.Scheme == "https" && to.Host != "", "%s:%d: %s is no address by HTTPS", p.name, l.line, l.target)
				continue
			}
			name := p.name
			if to.Path != "" {
				name = path.Join(path.Dir(p.name), to.Path)
				_, err := os.Stat(filepath.Join(root(), filepath.FromSlash(name)))
				require.NoError(t, err, "%s:%d: %s leads nowhere", p.name, l.line, l.target)
			}
			if to.Fragment != "" {
				require.True(t, all[name].anchors[to.Fragment], "%s:%d: %s has no heading #%s", p.name, l.line, name, to.Fragment)
			}
		}
	}
	require.NotZero(t, checked)
	t.Logf("%d links in %d pages", checked, len(all))
}
