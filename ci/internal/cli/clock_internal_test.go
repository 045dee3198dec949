package cli

import (
	"testing"

	"github.com/slipway-cd/slipway/ci/internal/clock"
)

// ShortenWaits lets releases poll more often until the end of the test.
func ShortenWaits(t *testing.T) {
	t.Helper()
	releaseClock = clock.NewScaled(20)
	t.Cleanup(func() { releaseClock = nil })
}
