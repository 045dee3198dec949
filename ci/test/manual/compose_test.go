package manual_test

import (
	"encoding/json"
	"os"
	"regexp"
	"testing"

	"github.com/slipway-cd/slipway/ci/internal/sourcetest"

	"github.com/stretchr/testify/require"
)

// TestComposeImages requires compose.yaml to use the images of the lock file.
func TestComposeImages(t *testing.T) {
	text, err := os.ReadFile(sourcetest.Repository("ci", "images.lock.json"))
	require.NoError(t, err)
	var lock struct {
		Images map[string]struct{ Reference string }
	}
	require.NoError(t, json.Unmarshal(text, &lock))
	compose, err := os.ReadFile(sourcetest.Repository("compose.yaml"))
	require.NoError(t, err)
	var used []string
	for _, image := range regexp.MustCompile(`(?m)^ +image: (\S+)`).FindAllSubmatch(compose, -1) {
		used = append(used, string(image[1]))
	}
	require.ElementsMatch(t, []string{lock.Images["go"].Reference, lock.Images["nginx"].Reference}, used)
}
