package clock

import (
	"context"
	"time"
)

// Scaled is a clock with real time stamps, whose waits are shorter by a factor. Clients
// compare time stamps with their own clock (createdAt filters, token expiry), so these
// must not lie in the future.
type Scaled struct {
	scale float64
}

// NewScaled returns a clock whose waits take 1/scale of their nominal length. A scale of
// zero or less means real time.
func NewScaled(scale float64) *Scaled {
	if scale <= 0 {
		scale = 1
	}
	return &Scaled{scale: scale}
}

// Now returns the current time in UTC, rounded up to the millisecond, which is the
// precision of AWS's time stamps: a record must not seem to be older than a moment
// before its creation.
func (c *Scaled) Now() time.Time {
	return time.Now().UTC().Add(time.Millisecond - time.Nanosecond).Truncate(time.Millisecond)
}

// Scale returns the real time that a nominal duration takes on this clock.
func (c *Scaled) Scale(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(float64(d) / c.scale)
}

// Nominal returns the nominal duration that takes a real time on this clock: the reverse
// of [Scaled.Scale].
func (c *Scaled) Nominal(d time.Duration) time.Duration {
	return time.Duration(float64(d) * c.scale)
}

// AtLeast is like [Scaled.Scale] with a minimum in real time. It is for timeouts of real
// work, such as a health check or the stop of a process, which does not scale.
func (c *Scaled) AtLeast(d, floor time.Duration) time.Duration {
	return max(c.Scale(d), min(d, floor))
}

// Sleep waits for the nominal duration d, or until ctx ends, and then returns its cause.
func (c *Scaled) Sleep(ctx context.Context, d time.Duration) error {
	return Real{}.Sleep(ctx, c.Scale(d))
}
