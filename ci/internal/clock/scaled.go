package clock

import (
	"context"
	"time"
)

// Fast tells real time and shortens every wait by a factor. Time stamps stay
// real on purpose: clients compare them with their own clock (createdAt filters,
// token expiry), and would misjudge a record that lies in the future.
type Scaled struct {
	scale float64
}

// NewFast returns a clock whose waits take 1/scale of their nominal length. A scale
// of zero or less means real time.
func NewScaled(scale float64) *Scaled {
	if scale <= 0 {
		scale = 1
	}
	return &Scaled{scale: scale}
}

// Now is the current real time in UTC, rounded up to the millisecond: that is as
// much as AWS's records hold, and what was made after a moment must not seem to
// have been made before it.
func (c *Scaled) Now() time.Time {
	return time.Now().UTC().Add(time.Millisecond - time.Nanosecond).Truncate(time.Millisecond)
}

// Scaled is the real time that a nominal duration takes on this clock.
func (c *Scaled) Scale(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(float64(d) / c.scale)
}

// AtLeast is Scaled with a floor in real time. It serves deadlines of real work
// (a health check's answer, a process that must stop), which does not get
// faster because the clock does.
func (c *Scaled) AtLeast(d, floor time.Duration) time.Duration {
	return max(c.Scale(d), min(d, floor))
}

// Sleep waits for the nominal duration d or until ctx is done, whose cause it
// then returns.
func (c *Scaled) Sleep(ctx context.Context, d time.Duration) error {
	return Real{}.Sleep(ctx, c.Scale(d))
}
