package benchmark

import (
	"compress/gzip"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// counter counts bytes.
type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// TestSize holds for what an image consists of: the binary and hardly anything
// else.
func TestSize(t *testing.T) {
	content, err := os.ReadFile(binary)
	require.NoError(t, err)
	var compressed counter
	w := gzip.NewWriter(&compressed)
	_, err = w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	t.Logf("binary %.1f MB, compressed %.1f MB", float64(len(content))/1e6, float64(compressed)/1e6)
	require.Less(t, len(content), 15_000_000)
	require.Less(t, int(compressed), 8_000_000)
}
