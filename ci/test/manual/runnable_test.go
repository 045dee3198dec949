package manual_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// runnableFile has the blocks that package manual/run executes.
const runnableFile = "ci/test/manual/run/testdata/blocks.md"

// TestRunnable wants what is executed to be what the manual says is to be run.
func TestRunnable(t *testing.T) {
	total, runnable, written, executed := 0, 0, 0, 0
	var all strings.Builder
	for _, p := range pages(t) {
		blocks := p.runnable()
		for _, b := range p.blocks {
			if b.is("sh") && p.name != referenceFile { // whose examples stand for themselves
				total++
				written += count(t, b.code)
			}
			if b.is("text", "output") {
				require.True(t, slices.ContainsFunc(blocks, func(r *block) bool { return r.next != nil && r.next.line == b.line }), "%s:%d: an output of nothing that is run", p.name, b.line)
			}
		}
		if runnable += len(blocks); len(blocks) > 0 {
			fmt.Fprintf(&all, "# %s\n\n", p.name)
		}
		for _, b := range blocks {
			executed += count(t, b.code)
			fmt.Fprintf(&all, "```%s\n%s```\n\n", strings.Join(b.info, " "), b.code)
			if b.next.is("text", "output") {
				fmt.Fprintf(&all, "```text output\n%s```\n\n", b.next.code)
			}
		}
	}
	require.NotZero(t, runnable)
	t.Logf("%d of %d blocks, with %d of %d commands of slipway, are executed", runnable, total, executed, written)
	requireGenerated(t, runnableFile, "", all.String())
}

// count counts the commands of slipway in a script.
func count(t testing.TB, script string) (n int) {
	for _, words := range commands(t, script) {
		if words[0] == "slipway" || slices.Contains(words, "./ci/cmd/slipway") {
			n++
		}
	}
	return n
}

func (p page) runnable() (all []*block) {
	for n := range p.blocks {
		if p.blocks[n].is("sh", "runnable") {
			all = append(all, &p.blocks[n])
		}
	}
	return all
}
