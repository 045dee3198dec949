package graph

import (
	"maps"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// edge leads from a block to one that it needs.
type edge struct{ from, to string }

// scope is one module of the configuration, called from a parent.
type scope struct {
	address string // "" for the root, else "module.a.module.b"
	module  *tfjson.ConfigModule
	call    *tfjson.ModuleCall
	parent  *scope
}

// deepest is how many modules a reference is followed through.
const deepest = 12

// edges collects which block of the configuration refers to which, through
// the variables and outputs of modules. References through local values are
// not in a plan, and so are not here.
func edges(plan *tfjson.Plan) []edge {
	if plan.Config == nil || plan.Config.RootModule == nil {
		return nil
	}
	found := map[edge]bool{}
	collect(&scope{module: plan.Config.RootModule}, found, 0)
	all := slices.Collect(maps.Keys(found))
	slices.SortFunc(all, func(a, b edge) int {
		return strings.Compare(a.from+"\x00"+a.to, b.from+"\x00"+b.to)
	})
	return all
}

func collect(s *scope, found map[edge]bool, depth int) {
	if depth > deepest {
		return
	}
	for _, r := range s.module.Resources {
		if r == nil || r.Mode == tfjson.DataResourceMode {
			continue
		}
		from := blockOf(s.address, r.Type, r.Name)
		references := slices.Clone(r.DependsOn)
		for _, expression := range r.Expressions {
			references = append(references, referred(expression)...)
		}
		references = append(references, referred(r.ForEachExpression)...)
		references = append(references, referred(r.CountExpression)...)
		for _, reference := range references {
			for _, to := range s.resolve(reference, 0) {
				if to != from {
					found[edge{from, to}] = true
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.module.ModuleCalls)) {
		if inner := s.child(name); inner != nil {
			collect(inner, found, depth+1)
		}
	}
}

func (s *scope) child(name string) *scope {
	call := s.module.ModuleCalls[name]
	if call == nil || call.Module == nil {
		return nil
	}
	address := "module." + name
	if s.address != "" {
		address = s.address + "." + address
	}
	return &scope{address: address, module: call.Module, call: call, parent: s}
}

// resolve finds the blocks behind a reference.
func (s *scope) resolve(reference string, depth int) []string {
	parts := strings.Split(withoutKeys(reference), ".")
	if len(parts) < 2 || depth > deepest {
		return nil
	}
	switch parts[0] {
	case "data", "local", "each", "count", "path", "self", "terraform":
		return nil
	case "var":
		if s.call == nil {
			return nil
		}
		return s.parent.resolveAll(referred(s.call.Expressions[parts[1]]), depth+1)
	case "module":
		inner := s.child(parts[1])
		if inner == nil || len(parts) < 3 || inner.module.Outputs[parts[2]] == nil {
			return nil
		}
		return inner.resolveAll(referred(inner.module.Outputs[parts[2]].Expression), depth+1)
	}
	return []string{blockOf(s.address, parts[0], parts[1])}
}

func (s *scope) resolveAll(references []string, depth int) []string {
	var all []string
	for _, reference := range references {
		all = append(all, s.resolve(reference, depth)...)
	}
	return all
}

// referred are the references of an expression and of the blocks in it.
func referred(e *tfjson.Expression) []string {
	if e == nil || e.ExpressionData == nil {
		return nil
	}
	all := slices.Clone(e.References)
	for _, block := range e.NestedBlocks {
		for _, inner := range block {
			all = append(all, referred(inner)...)
		}
	}
	return all
}
