package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"github.com/slipway-cd/slipway/ci/internal/images/leak"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Diff returns what a release would change, by service and field. It changes nothing.
func (e Engine) Diff(ctx context.Context, request Request) (report.Diff, error) {
	request.TakeOver, request.dryRun = true, true // allowed during a deployment
	p, err := e.plan(ctx, request)
	if err != nil {
		return report.Diff{}, err
	}
	diff := report.Diff{SHA: request.Version}
	for _, s := range p.services {
		for _, note := range s.notes {
			e.Event(s.Name, note)
		}
		shift, err := e.shiftReport(ctx, s.service)
		if err != nil {
			return report.Diff{}, err
		}
		service := report.ServiceDiff{Name: s.Name, From: s.From, To: s.To, Strategy: strategyOf(s.service.DeploymentConfiguration), Shift: shift, Changes: compare(s.running, s.wanted)}
		if s.configuration != nil {
			service.Changes = append(service.Changes, compareFields(strategyFields(s.service.DeploymentConfiguration), strategyFields(s.configuration))...)
		}
		if service.To.TaskDefinition == s.From.TaskDefinition && !s.upToDate {
			service.To.TaskDefinition = ""
		}
		service.Changed = len(service.Changes) > 0
		diff.Changed = diff.Changed || service.Changed
		diff.Services = append(diff.Services, service)
	}
	return diff, nil
}

// compare returns the fields in which two definitions differ, by path.
func compare(from, to *ecs.RegisterTaskDefinitionInput) []report.Change {
	return compareFields(flatten(normalize(from)), flatten(normalize(to)))
}

func compareFields(before, after map[string]field) []report.Change {
	paths := slices.Sorted(maps.Keys(before))
	for path := range after {
		if _, ok := before[path]; !ok {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	var changes []report.Change
	for _, path := range paths {
		if before[path].value != after[path].value {
			changes = append(changes, report.Change{Path: path, From: before[path].shown, To: after[path].shown})
		}
	}
	return changes
}

// field is a value and how to show it without secrets.
type field struct{ value, shown string }

// flatten returns the fields of a definition by path. List members are keyed by name,
// if they have one.
func flatten(input *ecs.RegisterTaskDefinitionInput) map[string]field {
	document, err := json.Marshal(input)
	if err != nil {
		return map[string]field{"": {err.Error(), err.Error()}} // cannot happen: the SDK's types are plain data
	}
	var tree any
	if err := json.Unmarshal(document, &tree); err != nil {
		return map[string]field{"": {err.Error(), err.Error()}}
	}
	flat := map[string]field{}
	flattenInto(flat, "", "", tree)
	return flat
}

func flattenInto(flat map[string]field, path, name string, value any) {
	add := func(path, text, shown string) {
		if text != "" && text != "false" {
			flat[strings.Replace(path, "containerDefinitions.", "containers.", 1)] = field{text, shown}
		}
	}
	switch v := value.(type) {
	case nil:
	case map[string]any:
		for key, member := range v {
			flattenInto(flat, join(path, lowerFirst(key)), key, member)
		}
	case []any:
		if words := stringList(v); words != nil {
			for n, shown := range leak.RedactArgs(words) {
				add(join(path, fmt.Sprint(n)), words[n], shown)
			}
			return
		}
		for n, member := range v {
			name, rest := memberName(member, n)
			flattenInto(flat, join(path, name), name, rest)
		}
	default:
		text := fmt.Sprint(v)
		add(path, text, leak.RedactValue(name, text))
	}
}

// stringList returns the members of a list of strings, such as a command, or nil.
func stringList(list []any) []string {
	var words []string
	for _, member := range list {
		text, ok := member.(string)
		if !ok {
			return nil
		}
		words = append(words, text)
	}
	return words
}

// memberName returns the key of a list member, and the member without it. A pair of
// name and value becomes the value.
func memberName(member any, n int) (string, any) {
	fields, ok := member.(map[string]any)
	if !ok {
		return fmt.Sprint(n), member
	}
	for _, key := range []string{"Name", "ContainerPath", "ContainerPort", "SourceContainer", "Key"} {
		name, ok := fields[key]
		if !ok || name == nil {
			continue
		}
		if value, pair := fields["Value"]; pair && len(fields) == 2 {
			return fmt.Sprint(name), value
		}
		rest := maps.Clone(fields)
		delete(rest, key)
		return fmt.Sprint(name), rest
	}
	return fmt.Sprint(n), member
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func lowerFirst(text string) string { return strings.ToLower(text[:1]) + text[1:] }
