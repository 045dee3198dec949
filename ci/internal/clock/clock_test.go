package clock_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReal(t *testing.T) {
	var c clock.Real
	before := c.Now()
	require.NoError(t, c.Sleep(t.Context(), time.Nanosecond))
	require.True(t, c.Now().After(before))

	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	require.ErrorIs(t, c.Sleep(ctx, time.Hour), why)
}
