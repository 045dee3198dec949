package summary

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/slipway-cd/slipway/ci/internal/infra/redact"
)

// Attribute is a changed value of a resource. JSON in a string, such as a policy or
// container definitions, is compared by its content.
type Attribute struct {
	Path   string `json:"path"`
	Before any    `json:"before"`
	After  any    `json:"after"`
	// Unknown means that the new value is known after apply.
	Unknown bool `json:"unknown,omitempty"`
	// Forces means that the change forces a replacement.
	Forces bool `json:"forces_replacement,omitempty"`
}

// path is the path of a value: attribute names, keys and indexes.
type path []any

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// String formats the path as Terraform does.
func (p path) String() string {
	var b strings.Builder
	for i, step := range p {
		switch s := step.(type) {
		case string:
			switch {
			case !identifier.MatchString(s):
				fmt.Fprintf(&b, "[%s]", strconv.Quote(s))
			case i > 0:
				b.WriteString("." + s)
			default:
				b.WriteString(s)
			}
		default:
			fmt.Fprintf(&b, "[%v]", s)
		}
	}
	return b.String()
}

func (p path) child(step any) path { return append(slices.Clip(p), step) }

// isForced reports whether p is on or below one of the paths that force a
// replacement. Indexes are ignored: those of sets are not stable.
func (p path) isForced(paths []any) bool {
	for _, candidate := range paths {
		other, ok := candidate.([]any)
		if !ok || len(other) == 0 {
			continue
		}
		same := true
		for i := range min(len(p), len(other)) {
			if left, named := p[i].(string); named && left != other[i] {
				same = false
			}
		}
		if same {
			return true
		}
	}
	return false
}

// comparison collects the attributes that differ.
type comparison struct {
	forcing    []any
	replacing  bool
	found      []Attribute
	recomputed int
}

// attributes returns the values that an action changes. A created resource has the
// configured values, a destroyed one has none.
func attributes(a Action, change *tfjson.Change) (found []Attribute, recomputed int) {
	c := comparison{forcing: change.ReplacePaths, replacing: a == Replace, found: []Attribute{}}
	switch a {
	case Destroy, Forget, Move, Import:
		return c.found, 0
	case Create, Read:
		after, _ := change.After.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(after)) {
			if name != "tags_all" && !isEmpty(after[name]) {
				c.found = append(c.found, Attribute{Path: name, After: after[name]})
			}
		}
		return c.found, 0
	}
	c.compare(nil, change.Before, change.After, change.AfterUnknown)
	return c.found, c.recomputed
}

func isEmpty(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// maxDepth is the depth to which values are compared by their parts.
const maxDepth = 32

func (c *comparison) compare(p path, before, after, unknown any) {
	if unknown == true {
		c.add(Attribute{Before: before, Unknown: true}, p)
		return
	}
	if after == redact.Changed {
		c.add(Attribute{Before: before, After: after}, p)
		return
	}
	if len(p) < maxDepth {
		if inner, ok := parseJSON(before); ok {
			if innerAfter, ok := parseJSON(after); ok {
				before, after = inner, innerAfter
			}
		}
		oldMap, wasMap := before.(map[string]any)
		newMap, isMap := after.(map[string]any)
		if wasMap && isMap {
			c.compareMaps(p, oldMap, newMap, unknown)
			return
		}
		oldList, wasList := before.([]any)
		newList, isList := after.([]any)
		if wasList && isList {
			c.compareLists(p, oldList, newList, unknown)
			return
		}
	}
	if same := reflect.DeepEqual(before, after) || (isEmpty(before) && isEmpty(after)); !same {
		c.add(Attribute{Before: before, After: after}, p)
	}
}

func (c *comparison) compareMaps(p path, before, after map[string]any, unknown any) {
	unknowns, _ := unknown.(map[string]any)
	names := map[string]bool{}
	for _, m := range []map[string]any{before, after, unknowns} {
		for name := range m {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		c.compare(p.child(name), before[name], after[name], unknowns[name])
	}
}

// compareLists omits the elements that both lists have, because many lists are
// unordered sets, and compares the others one by one.
func (c *comparison) compareLists(p path, before, after []any, unknown any) {
	unknowns, _ := unknown.([]any)
	kept := map[string]int{}
	for _, element := range before {
		kept[jsonKey(element)]++
	}
	type place struct{ index, value any }
	var removed, added []place
	common := map[string]int{}
	for i, element := range after {
		k := jsonKey(element)
		if hidden := i < len(unknowns) && redact.IsMarked(unknowns[i]); kept[k] > 0 && !hidden {
			kept[k]--
			common[k]++
			continue
		}
		added = append(added, place{i, element})
	}
	for i, element := range before {
		if k := jsonKey(element); common[k] > 0 {
			common[k]--
			continue
		}
		removed = append(removed, place{i, element})
	}
	if len(removed) == 0 && len(added) == 0 && !reflect.DeepEqual(before, after) {
		c.add(Attribute{Before: before, After: after}, p) // only the order changed
		return
	}
	for i := range max(len(removed), len(added)) {
		var was, is place
		var hidden any
		if i < len(removed) {
			was = removed[i]
			is.index = was.index
		}
		if i < len(added) {
			is = added[i]
			if n, ok := is.index.(int); ok && n < len(unknowns) {
				hidden = unknowns[n]
			}
		}
		c.compare(p.child(is.index), was.value, is.value, hidden)
	}
}

func (c *comparison) add(a Attribute, p path) {
	a.Path, a.Forces = p.String(), p.isForced(c.forcing)
	if c.replacing && !a.Forces {
		switch {
		case a.Unknown:
			c.recomputed++
			return
		case a.After == nil && (a.Before == false || a.Before == json.Number("0")):
			return // a default that is not known yet
		}
	}
	c.found = append(c.found, a)
}

// jsonKey returns a string that is equal for equal values.
func jsonKey(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(data)
}

// parseJSON parses a string that is a JSON object or list.
func parseJSON(value any) (any, bool) {
	text, ok := value.(string)
	trimmed := strings.TrimSpace(text)
	if !ok || trimmed == "" || (trimmed[0] != '{' && trimmed[0] != '[') {
		return nil, false
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(trimmed)))
	decoder.UseNumber()
	var inner any
	if err := decoder.Decode(&inner); err != nil || decoder.More() {
		return nil, false
	}
	return inner, true
}
