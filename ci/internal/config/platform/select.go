package platform

import (
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Select returns the services with the given names, or all services without names. An
// unknown name is a usage error with a suggestion.
func (p Platform) Select(names ...string) ([]Service, error) {
	known := p.Names()
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, unknownService(name, known)
		}
	}
	if len(names) == 0 {
		return p.Services, nil
	}
	return slices.DeleteFunc(slices.Clone(p.Services), func(s Service) bool {
		return !slices.Contains(names, s.Name)
	}), nil
}

func unknownService(name string, known []string) error {
	if near := outcome.Nearest(name, known); near != "" {
		return outcome.Usagef("no service %q in %s: did you mean %q?", name, ServicesFile, near)
	}
	return outcome.Usagef("no service %q in %s: it has %s", name, ServicesFile, strings.Join(known, ", "))
}
