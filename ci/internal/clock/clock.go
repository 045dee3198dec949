// Package clock is the computer's clock, in the shape that whoever waits can be
// tested with another one, and a clock whose waits are shorter.
package clock

import (
	"context"
	"time"
)

// Real is the computer's clock.
type Real struct{}

// Now tells the time.
func (Real) Now() time.Time { return time.Now() }

// Sleep waits for d, or until ctx ends and returns its cause.
func (Real) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
