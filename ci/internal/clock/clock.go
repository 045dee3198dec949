// Package clock is the computer's clock, in the shape that whoever waits can be
// tested with another one.
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
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
