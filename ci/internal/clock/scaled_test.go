package clock_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/clock"
)

func TestFastShortensWaits(t *testing.T) {
	c := clock.NewScaled(10)
	require.Equal(t, time.Second, c.Scale(10*time.Second))
	require.Equal(t, 10*time.Second, c.Nominal(time.Second))
	require.Zero(t, c.Scale(-time.Second))
	require.Equal(t, 2*time.Second, c.AtLeast(10*time.Second, 2*time.Second), "the floor")
	require.Equal(t, 10*time.Second, c.AtLeast(100*time.Second, 2*time.Second), "above the floor")
	require.Equal(t, time.Second, c.AtLeast(time.Second, 2*time.Second), "never longer than the nominal duration")
	began := time.Now()
	require.NoError(t, c.Sleep(t.Context(), 200*time.Millisecond))
	require.GreaterOrEqual(t, time.Since(began), 20*time.Millisecond)
	require.Equal(t, time.Hour, clock.NewScaled(0).Scale(time.Hour), "no scale is real time")
}

func TestFastSleepEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, clock.NewScaled(1).Sleep(ctx, time.Hour), context.Canceled)
	require.ErrorIs(t, clock.NewScaled(1).Sleep(ctx, 0), context.Canceled)
}

func TestFastIsNeverEarly(t *testing.T) {
	for range 1000 {
		before := time.Now()
		now := clock.NewScaled(1).Now()
		require.False(t, now.Before(before))
		require.Zero(t, now.Nanosecond()%int(time.Millisecond))
	}
}
