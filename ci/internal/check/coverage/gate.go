package coverage

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Gate is the least coverage that each module must have, in percent of its
// statements. The zero Gate lets everything pass. A *Gate is a
// [github.com/spf13/pflag.Value] for a repeatable flag.
type Gate struct {
	// Default holds for every module that Modules does not name.
	Default float64
	// Modules holds minima by module directory.
	Modules map[string]float64
}

// For returns the minimum of the module in dir.
func (g Gate) For(dir string) float64 {
	if minimum, named := g.Modules[dir]; named {
		return minimum
	}
	return g.Default
}

// Set adds "PERCENT", the default, or "MODULE=PERCENT". Several may be given
// at once, separated by commas.
func (g *Gate) Set(value string) error {
	for part := range strings.SplitSeq(value, ",") {
		module, text, named := strings.Cut(part, "=")
		if !named {
			text = module
		}
		text = strings.TrimSpace(text)
		percent, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
		if err != nil || !(percent >= 0 && percent <= 100) {
			return fmt.Errorf("%q is not a percentage from 0 to 100; give PERCENT or MODULE=PERCENT, like 85 or backend=95", text)
		}
		if !named {
			g.Default = percent
			continue
		}
		module = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(module), "./"), "/")
		if module == "" {
			return fmt.Errorf("%q names no module before the equals sign", part)
		}
		// A copy, because Gates are passed by value and share the map.
		modules := maps.Clone(g.Modules)
		if modules == nil {
			modules = map[string]float64{}
		}
		modules[module] = percent
		g.Modules = modules
	}
	return nil
}

// String is the gate as [Gate.Set] takes it.
func (g *Gate) String() string {
	parts := []string{formatPercent(g.Default)}
	for _, module := range slices.Sorted(maps.Keys(g.Modules)) {
		parts = append(parts, module+"="+formatPercent(g.Modules[module]))
	}
	return strings.Join(parts, ",")
}

// Type is what help texts show for the flag's value.
func (*Gate) Type() string { return "[MODULE=]PERCENT" }

func formatPercent(percent float64) string {
	return strconv.FormatFloat(percent, 'f', -1, 64)
}
