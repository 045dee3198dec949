package localaws

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// faultKinds lists the names of all kinds of faults.
var faultKinds = []string{
	string(Throttle), string(ServerError), string(Reset), string(Slow), string(ExpiredToken), string(LostResponse), string(StaleRead), string(AccessDenied),
	string(NoCapacity), string(Hidden),
}

// faultKeys lists the keys that a fault may set.
var faultKeys = []string{"service", "action", "rate", "times", "delay", "after"}

// ParseFault parses a fault of the form KIND[:key=value,…], such as
// throttle:rate=0.3 or lost:action=UpdateService,times=1.
func ParseFault(text string) (Fault, error) {
	kind, rest, more := strings.Cut(text, ":")
	f := Fault{Kind: FaultKind(kind)}
	if !slices.Contains(faultKinds, kind) {
		return Fault{}, fmt.Errorf("unknown kind %q: %s", kind, outcome.Suggestion(kind, faultKinds))
	}
	if more {
		for _, pair := range strings.Split(rest, ",") {
			if err := f.setField(pair); err != nil {
				return Fault{}, err
			}
		}
	}
	if f.Delay == 0 && slices.Contains([]FaultKind{Slow, StaleRead, Hidden}, f.Kind) {
		return Fault{}, fmt.Errorf("%s needs a delay: want %s:delay=2s", kind, kind)
	}
	return f, nil
}

// set sets one field of a fault from key=value.
func (f *Fault) setField(pair string) error {
	key, value, ok := strings.Cut(pair, "=")
	if !slices.Contains(faultKeys, key) {
		return fmt.Errorf("unknown key %q: %s", key, outcome.Suggestion(key, faultKeys))
	}
	if !ok || value == "" {
		return fmt.Errorf("missing value of %s: want %s=%s", key, key, keyExamples[key])
	}
	valid := true
	switch key {
	case "service":
		f.Service = value
	case "action":
		f.Action = value
	case "rate":
		rate, err := strconv.ParseFloat(value, 64)
		f.Rate, valid = rate, err == nil && rate > 0 && rate <= 1
	case "times":
		times, err := strconv.Atoi(value)
		f.Times, valid = times, err == nil && times > 0
	case "delay":
		delay, err := time.ParseDuration(value)
		f.Delay, valid = delay, err == nil && delay > 0
	case "after":
		after, err := strconv.ParseInt(value, 10, 64)
		f.After, valid = after, err == nil && after > 0
	}
	if !valid {
		return fmt.Errorf("%s=%s: want %s, such as %s=%s", key, value, keyConstraints[key], key, keyExamples[key])
	}
	return nil
}

// Examples of values, and the range of valid ones, by key.
var (
	keyExamples    = map[string]string{"service": "ecs", "action": "UpdateService", "rate": "0.3", "times": "1", "delay": "2s", "after": "65536"}
	keyConstraints = map[string]string{"rate": "a share above 0 and up to 1", "times": "a whole number above 0", "delay": "a duration above 0", "after": "a number of bytes above 0"}
)
