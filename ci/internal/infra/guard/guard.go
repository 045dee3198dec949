// Package guard refuses plans that destroy resources which cannot be recreated:
// data, history, well-known names, the network. Unknown resource types are
// protected as well.
package guard

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Loss returns what is lost when a resource of a type is destroyed or replaced; ""
// for a type that apply recreates without loss.
func Loss(kind string) string {
	if recreatable[kind] {
		return ""
	}
	if loss := losses[kind]; loss != "" {
		return loss
	}
	words := "_" + kind + "_"
	for _, class := range classes {
		for _, word := range class.words {
			// Providers use singular and plural.
			if strings.Contains(words, "_"+word+"_") || strings.Contains(words, "_"+word+"s_") {
				return class.loss
			}
		}
	}
	return "unknown: slipway does not know this resource type"
}

// Destroyed is a resource that a plan destroys or replaces.
type Destroyed struct {
	Address  string
	Replaced bool
	// Loss is what is lost with it, as of [Loss]; "" if nothing is.
	Loss string
	// Shifted is the name of the ECS service whose traffic ECS shifts with it, if any.
	Shifted string
}

// TrafficLoss returns what is lost when something that ECS shifts a service's traffic with
// is destroyed.
func TrafficLoss(service string) string {
	return "the traffic of " + service + ", until a release with the strategy rolling"
}

// Check refuses a plan that destroys protected resources, except those whose
// addresses are allowed. Allowing an address that the plan does not destroy is a
// usage error.
func Check(destroyed []Destroyed, allowed []string) error {
	addresses := make([]string, len(destroyed))
	for i, d := range destroyed {
		addresses[i] = d.Address
	}
	for _, address := range allowed {
		if slices.Contains(addresses, address) {
			continue
		}
		if near := outcome.Nearest(address, addresses); near != "" {
			return outcome.Usagef("--allow-destroy %s: the plan does not destroy it: did you mean %s?", address, near)
		}
		return outcome.Usagef("--allow-destroy %s: the plan does not destroy it (it destroys %s)", address, orNothing(addresses))
	}
	var refused, flags, shifted []string
	for _, d := range destroyed {
		if d.Loss == "" || slices.Contains(allowed, d.Address) {
			continue
		}
		if d.Shifted != "" && !slices.Contains(shifted, d.Shifted) {
			shifted = append(shifted, d.Shifted)
		}
		verb := "destroy"
		if d.Replaced {
			verb = "replace"
		}
		refused = append(refused, fmt.Sprintf("%s %s (lost: %s)", verb, d.Address, d.Loss))
		flags = append(flags, "--allow-destroy "+quote(d.Address))
	}
	if len(refused) == 0 {
		return nil
	}
	if len(shifted) > 0 {
		return outcome.Refusedf("release %s with the strategy rolling first (slipway deploy --force), then plan again: the plan would %s; to destroy it anyway, add %s",
			strings.Join(shifted, ", "), strings.Join(refused, ", "), strings.Join(flags, " "))
	}
	return outcome.Refusedf("the plan would %s: to allow it, add %s", strings.Join(refused, ", "), strings.Join(flags, " "))
}

func orNothing(addresses []string) string {
	if len(addresses) == 0 {
		return "nothing"
	}
	return strings.Join(addresses, ", ")
}

// quote quotes an address for a shell.
func quote(address string) string {
	if !strings.ContainsAny(address, `"[ $`) {
		return address
	}
	return "'" + strings.ReplaceAll(address, "'", `'\''`) + "'"
}
