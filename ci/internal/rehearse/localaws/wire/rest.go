package wire

import (
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
)

// REST returns an operation that is called by AWS REST JSON: with an HTTP method, and
// with a path whose segment in braces, such as /schedules/{Name}, is a member of the
// input. Members may also be in the query: pairs of a query's name and a member's are
// needed where they differ by more than the first letter's case.
func (o Operation) REST(method, path string, members ...string) Operation {
	o.method, o.path, o.queryMembers = method, path, map[string]string{}
	for n := 0; n+1 < len(members); n += 2 {
		o.queryMembers[members[n]] = members[n+1]
	}
	return o
}

// matchREST reports whether a request calls the operation, and returns the members in its
// path and query.
func (o Operation) matchREST(r *http.Request) (members url.Values, ok bool) {
	if o.method == "" || o.method != r.Method {
		return nil, false
	}
	prefix, label, _ := strings.Cut(o.path, "{")
	path := r.URL.EscapedPath()
	rest, found := strings.CutPrefix(path, prefix)
	if !found || label == "" && rest != "" || label != "" && (rest == "" || strings.Contains(rest, "/")) {
		return nil, false
	}
	members = url.Values{}
	for name, values := range r.URL.Query() {
		if member, ok := o.queryMembers[name]; ok {
			name = member
		}
		members[strings.ToUpper(name[:min(1, len(name))])+name[min(1, len(name)):]] = values
	}
	if label != "" {
		value, err := url.PathUnescape(rest)
		if err != nil {
			return nil, false
		}
		members.Set(strings.TrimSuffix(label, "}"), value)
	}
	return members, true
}

// setMembers sets members of an input that are in the path or query of a request.
func setMembers(in any, members url.Values) error {
	v := reflect.ValueOf(in).Elem()
	for _, f := range fieldsOf(v.Type()) {
		values := members[f.name]
		if len(values) == 0 {
			continue
		}
		member := v.Field(f.index)
		if member.Kind() == reflect.Pointer {
			member.Set(reflect.New(member.Type().Elem()))
			member = member.Elem()
		}
		switch member.Kind() {
		case reflect.String:
			member.SetString(values[0])
		case reflect.Slice:
			member.Set(reflect.ValueOf(values))
		case reflect.Int32:
			n, err := strconv.ParseInt(values[0], 10, 32)
			if err != nil {
				return Errorf("ValidationException", "%s: %q is not a number", f.name, values[0])
			}
			member.SetInt(n)
		}
	}
	return nil
}
