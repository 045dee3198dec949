package source_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestRecentCommits(t *testing.T) {
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, "file", "two\n")
	sourcetest.Commit(t, dir, "second: with words")
	tree := source.Tree{Dir: dir}

	commits, err := tree.RecentCommits(t.Context(), 1)
	require.NoError(t, err)
	require.Len(t, commits, 1)
	require.Equal(t, "second: with words", commits[0].Subject)
	revision, err := tree.Revision(t.Context())
	require.NoError(t, err)
	require.Equal(t, revision.SHA, commits[0].SHA)
	at, err := tree.CommittedAt(t.Context())
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), at, time.Hour)
	same, err := tree.CommitTime(t.Context(), revision.SHA)
	require.NoError(t, err)
	require.Equal(t, at, same)
	for _, other := range []string{"--all", "main", revision.SHA[:12], "0000000000000000000000000000000000000000"} {
		_, err := tree.CommitTime(t.Context(), other)
		require.Error(t, err, other)
	}

	empty := t.TempDir()
	sourcetest.Git(t, empty, "init", "-q")
	_, err = source.Tree{Dir: empty}.RecentCommits(t.Context(), 1)
	require.Error(t, err)
	_, err = source.Tree{Dir: empty}.CommittedAt(t.Context())
	require.Error(t, err)
}
