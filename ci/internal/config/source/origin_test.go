package source_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestOrigin(t *testing.T) {
	tests := map[string]struct{ remote, want string }{
		"none":             {"", ""},
		"https":            {"https://github.com/owner/name.git", "https://github.com/owner/name"},
		"with a token":     {"https://x-access-token:ghs_secret@github.com/owner/name", "https://github.com/owner/name"},
		"with a query":     {"https://github.com/owner/name?token=secret#secret", "https://github.com/owner/name"},
		"ssh":              {"ssh://git@github.com:22/owner/name.git/", "ssh://github.com:22/owner/name"},
		"ssh's short form": {"git@github.com:owner/name.git", "ssh://github.com/owner/name"},
		"a folder":         {"/home/somebody/name", ""},
		"a file":           {"file:///home/somebody/name", ""},
		"a drive":          {`C:\name`, ""},
		"not a URL":        {"https://[", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := sourcetest.New(t)
			if tt.remote != "" {
				sourcetest.Git(t, dir, "remote", "add", "origin", tt.remote)
			}
			tree, err := source.Open(t.Context(), dir)
			require.NoError(t, err)
			origin, err := tree.Origin(t.Context())
			require.NoError(t, err)
			require.Equal(t, source.Origin{Repository: tt.want, Ref: "refs/heads/main"}, origin)
		})
	}
	dir := sourcetest.New(t)
	tree, err := source.Open(t.Context(), dir)
	require.NoError(t, err)
	sourcetest.Git(t, dir, "checkout", "-q", "--detach")
	origin, err := tree.Origin(t.Context())
	require.NoError(t, err)
	require.Empty(t, origin.Ref)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = tree.Origin(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
