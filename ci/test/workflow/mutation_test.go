package workflow_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/slipway-cd/slipway/ci/test/workflow"
)

// judge finds what is wrong with workflows.
type judge struct {
	cases map[string]happening
	order []string // names of cases: the one that found a mistake last is tried first
	all   map[string]pushEvent
}

// wrong returns broken rules, else the first event with an unexpected result.
func (j *judge) wrong(set workflow.Set) []string {
	var wrong []string
	for _, f := range set.Check() {
		wrong = append(wrong, f.String())
	}
	if len(wrong) > 0 {
		return wrong
	}
	for n, name := range j.order {
		h := j.cases[name]
		got, err := h.start(set, j.all)
		if err == nil && slices.Equal(got, h.want) {
			continue
		}
		j.order = slices.Insert(slices.Delete(j.order, n, n+1), 0, name)
		return []string{fmt.Sprint(name, ": ", strings.Join(got, "; "), err)}
	}
	return nil
}

// TestMutations breaks every condition, permission, pin, limit and command of the
// workflows slightly, one at a time. Each change must be detected.
func TestMutations(t *testing.T) {
	original, cases := files(t), happenings()
	j := &judge{cases: cases, order: slices.Sorted(maps.Keys(cases)), all: pushEvents(t)}
	set, err := workflow.Read(root())
	require.NoError(t, err)
	require.Empty(t, j.wrong(set))
	count := 0
	var survivors []string
	for _, file := range slices.Sorted(maps.Keys(original)) {
		// The tree is changed in place, written, and changed back. The unchanged tree
		// must be valid after writing, or the test would prove nothing.
		var document yaml.Node
		require.NoError(t, yaml.Unmarshal([]byte(original[file]), &document))
		parse := func(document *yaml.Node) (workflow.Set, error) {
			content, err := yaml.Marshal(document)
			require.NoError(t, err)
			return workflow.Parse(map[string]string{file: string(content)})
		}
		replace := func(one workflow.Set) workflow.Set {
			all := slices.Clone(set)
			all[slices.IndexFunc(all, func(w workflow.Workflow) bool { return w.Name == file })] = one[0]
			return all
		}
		one, err := parse(&document)
		require.NoError(t, err)
		whole := replace(one)
		require.Empty(t, j.wrong(whole), file)
		jobs := value(document.Content[0], "jobs").Content
		for n := 0; n < len(jobs); n += 2 {
			alone, err := parse(withJob(document.Content[0], jobs[n].Value))
			require.NoError(t, err)
			require.Empty(t, alone.Check(), "%s: job %s alone", file, jobs[n].Value)
		}
		for _, m := range mutations(document.Content[0], "") {
			undo := m.do()
			mutated := &document
			if m.job != "" {
				mutated = withJob(document.Content[0], m.job) // the others are parsed already
			}
			if one, err := parse(mutated); err == nil {
				changed := replace(one)
				if m.job != "" {
					changed = whole.WithJob(file, m.job, one)
				}
				// A rule that the changed part breaks by itself is broken in the whole, too.
				if len(one.Check()) == 0 && len(j.wrong(changed)) == 0 {
					survivors = append(survivors, fmt.Sprintf("%s: nothing notices %s at line %d", file, m.what, m.line))
				}
			}
			undo()
			count++
		}
	}
	require.Empty(t, survivors, strings.Join(survivors, "\n"))
	require.Greater(t, count, 200, "the mutations do not find what to change")
	t.Logf("%d mutations", count)
}

// withJob returns a workflow with one of the jobs of another, whose own part breaks no rule.
func withJob(w *yaml.Node, job string) *yaml.Node {
	one := tree("on: workflow_call\npermissions: {}\njobs:\n  of: another")
	value(one, "jobs").Content = []*yaml.Node{scalar(job), value(value(w, "jobs"), job)}
	return one
}

// mutation is a change of a tree and its reversal.
type mutation struct {
	what string
	line int
	do   func() (undo func())
	job  string // in which all of it is, or ""
}

// mutations returns the mutations of a mapping and everything below it.
func mutations(node *yaml.Node, path string) (all []mutation) {
	switch node.Kind {
	case yaml.MappingNode:
		all = append(all, additions(node, path)...)
		for n := 0; n < len(node.Content); n += 2 {
			key, value := node.Content[n].Value, node.Content[n+1]
			all = append(all, entry(node, n, key, path)...)
			below := mutations(value, path+"/"+key)
			if path == "/jobs" {
				for n := range below {
					below[n].job = key
				}
			}
			all = append(all, below...)
		}
	case yaml.SequenceNode:
		for n, item := range node.Content {
			if item.Kind == yaml.MappingNode && strings.HasSuffix(path, "/steps") && value(item, "run") != nil {
				all = append(all, mutation{what: "a step dropped", line: item.Line, do: func() func() {
					old := slices.Clone(node.Content)
					node.Content = slices.Delete(slices.Clone(node.Content), n, n+1)
					return func() { node.Content = old }
				}})
			}
			all = append(all, mutations(item, path)...)
		}
	}
	return all
}

func value(mapping *yaml.Node, key string) *yaml.Node {
	for n := 0; n < len(mapping.Content); n += 2 {
		if mapping.Content[n].Value == key {
			return mapping.Content[n+1]
		}
	}
	return nil
}

// additions returns what could be added to a mapping.
func additions(node *yaml.Node, path string) (all []mutation) {
	add := func(key, content string) {
		all = append(all, mutation{what: "an added " + key + ": " + content, line: node.Line, do: func() func() {
			old := slices.Clone(node.Content)
			node.Content = append(node.Content, scalar(key), tree(content))
			return func() { node.Content = old }
		}})
	}
	switch {
	case strings.HasSuffix(path, "/permissions"):
		for _, scope := range []string{"id-token", "contents", "issues", "pull-requests", "packages"} {
			if value(node, scope) == nil {
				add(scope, "write")
			}
		}
	case path == "/on":
		for _, event := range []string{"pull_request_target", "workflow_run", "issue_comment"} {
			add(event, "{}")
		}
	case strings.HasSuffix(path, "/steps"):
		add("continue-on-error", "true")
		if value(node, "if") == nil && value(node, "run") != nil {
			add("if", "always()")
			add("if", "failure()")
		}
	case strings.HasPrefix(path, "/jobs/") && strings.Count(path, "/") == 2:
		if value(node, "uses") == nil {
			add("continue-on-error", "true")
		}
		if value(node, "if") == nil && value(node, "needs") != nil {
			add("if", "always()")
			add("if", "failure()")
		}
	}
	return all
}

// used are the keys that must not be removed. Removing others may be a matter of taste.
var used = []string{
	"if", "permissions", "timeout-minutes", "environment", "concurrency", "needs", "branches", "tags", "types", "persist-credentials",
	"fetch-depth", "retention-days", "artifact-ids", "cancel-in-progress", "outputs", "id",
}

// entry returns the mutations of one entry of a mapping.
func entry(node *yaml.Node, n int, key, path string) (all []mutation) {
	old := node.Content[n+1]
	become := func(what string, replacement *yaml.Node) {
		all = append(all, mutation{what: key + " " + what, line: old.Line, do: func() func() {
			node.Content[n+1] = replacement
			return func() { node.Content[n+1] = old }
		}})
	}
	drop := func() {
		all = append(all, mutation{what: key + " dropped", line: old.Line, do: func() func() {
			entries := slices.Clone(node.Content)
			node.Content = slices.Delete(slices.Clone(node.Content), n, n+2)
			return func() { node.Content = entries }
		}})
	}
	parent := path[strings.LastIndex(path, "/")+1:]
	if slices.Contains(used, key) && parent != "inputs" || parent == "env" || parent == "permissions" || parent == "outputs" {
		drop()
	}
	switch {
	case key == "if":
		for _, other := range expressions(old.Value) {
			become("as "+other, scalar(other))
		}
	case key == "permissions":
		for _, other := range []string{"write-all", "read-all"} {
			become("as "+other, scalar(other))
		}
	case parent == "permissions" && old.Value == "read":
		become("as write", scalar("write"))
	case parent == "permissions":
		become("as read", scalar("read"))
	case key == "uses" && strings.Contains(old.Value, "@"):
		name, commit, _ := strings.Cut(old.Value, "@")
		become("by tag", scalar(name+"@v1"))
		become("by branch", commented(name+"@main", old.LineComment))
		become("by a short id", commented(name+"@"+commit[:7], old.LineComment))
		become("without its version", scalar(old.Value))
		become("with a version that moves", commented(old.Value, "# v1"))
	case key == "uses":
		become("from elsewhere", scalar("mallory/shop/.github/workflows/infrastructure.yml@main"))
		become("as another workflow", scalar("./.github/workflows/drift.yml"))
		become("of a release", scalar("slipway-cd/slipway/.github/workflows/deliver.yml@v1.2.3"))
	case parent == "with" && strings.Contains(old.Value, "job.workflow_"):
		become("of the caller", scalar(strings.ReplaceAll(strings.ReplaceAll(old.Value, "job.workflow_repository", "github.repository"), "job.workflow_sha", "github.sha")))
		drop()
	case key == "run":
		for _, end := range []string{" || true", "; true", " | tee log", " &", " --x=${{ github.head_ref }}", " --x=$GITHUB_REF", ` --x="$(id)"`, ` --x="$UNKNOWN"`} {
			become("with "+end, scalar(old.Value+end))
		}
	case key == "persist-credentials", key == "cancel-in-progress" && parent == "concurrency" && strings.HasPrefix(path, "/jobs/"):
		become("as true", tree("true"))
	case key == "cancel-in-progress":
		become("as false", tree("false"))
	case key == "path" && old.Value == ".slipway/pipeline":
		drop()
	case key == "timeout-minutes":
		become("as 360", tree("360"))
	case key == "retention-days":
		become("as 90", tree("90"))
	case key == "group":
		become("as another", scalar("another"))
	case key == "environment":
		become("as another", scalar("staging"))
	case key == "branches", key == "tags":
		become("as all", tree("['*']"))
	case key == "default" && old.Value == "false":
		become("as true", tree("true"))
	case key == "default" && old.Value == "true":
		become("as false", tree("false"))
	case key == "runs-on":
		become("as latest", scalar("ubuntu-latest"))
	case parent == "env" && strings.Contains(old.Value, "vars.AWS_"):
		for _, role := range []string{"PLAN", "DEPLOY", "APPLY"} {
			other := "${{ vars.AWS_" + role + "_ROLE }}"
			if key == "AWS_ROLE" && other != old.Value {
				become("as "+other, scalar(other))
			}
		}
	case parent == "env":
		become("as a secret", scalar("${{ secrets.KEY }}"))
	}
	return all
}

func scalar(value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
}

func commented(value, comment string) *yaml.Node {
	node := scalar(value)
	node.LineComment = comment
	return node
}

// tree parses YAML.
func tree(content string) *yaml.Node {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(content), &document); err != nil {
		panic(err) // the content is a constant of this file
	}
	return document.Content[0]
}

// expressions returns slightly wrong variants of a condition: with parts left out,
// negated or always true.
func expressions(source string) []string {
	source = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(source), "${{"), "}}")
	node, problem := actionlint.NewExprParser().Parse(actionlint.NewExprLexer(source + "}}"))
	if problem != nil {
		panic(problem.Message) // the workflows were parsed before
	}
	// On GitHub, text outside of ${{ }} makes a condition always true.
	all := []string{"always()", "true", "false", "${{ " + source + " }} && true", "!(" + source + ")"}
	for _, v := range variants(node) {
		all = append(all, "${{ "+v+" }}")
	}
	return all
}

func variants(node actionlint.ExprNode) (all []string) {
	switch n := node.(type) {
	case *actionlint.LogicalOpNode:
		left, right, op, other := printed(n.Left), printed(n.Right), "&&", "||"
		if n.Kind == actionlint.LogicalOpNodeKindOr {
			op, other = other, op
		}
		all = append(all, left, right, fmt.Sprintf("(%s %s %s)", left, other, right))
		for _, v := range variants(n.Left) {
			all = append(all, fmt.Sprintf("(%s %s %s)", v, op, right))
		}
		for _, v := range variants(n.Right) {
			all = append(all, fmt.Sprintf("(%s %s %s)", left, op, v))
		}
	case *actionlint.CompareOpNode:
		other := "!="
		if n.Kind == actionlint.CompareOpNodeKindNotEq {
			other = "=="
		}
		all = append(all, fmt.Sprintf("(%s %s %s)", printed(n.Left), other, printed(n.Right)), "true", "false", fmt.Sprintf("(%s == %s)", printed(n.Left), "true"))
	case *actionlint.NotOpNode:
		all = append(all, printed(n.Operand), "true", "false")
	case *actionlint.ObjectDerefNode:
		all = append(all, "!"+printed(n), "true", "false")
		if r, ok := n.Receiver.(*actionlint.VariableNode); ok && r.Name == "inputs" {
			all = append(all, "(github.event."+printed(n)+" == true)") // never true: the event's inputs are strings
		}
	case *actionlint.FuncCallNode:
		if len(n.Args) > 0 {
			return nil
		}
		for _, other := range []string{"success", "failure", "cancelled", "always"} {
			if other != n.Callee {
				all = append(all, other+"()")
			}
		}
	}
	return all
}

// printed returns an expression as text.
func printed(node actionlint.ExprNode) string {
	switch n := node.(type) {
	case *actionlint.VariableNode:
		return n.Name
	case *actionlint.StringNode:
		return "'" + n.Value + "'"
	case *actionlint.ObjectDerefNode:
		return printed(n.Receiver) + "." + n.Property
	case *actionlint.NotOpNode:
		return "!" + printed(n.Operand)
	case *actionlint.FuncCallNode:
		var args []string
		for _, arg := range n.Args {
			args = append(args, printed(arg))
		}
		return n.Callee + "(" + strings.Join(args, ", ") + ")"
	case *actionlint.LogicalOpNode:
		op := " && "
		if n.Kind == actionlint.LogicalOpNodeKindOr {
			op = " || "
		}
		return "(" + printed(n.Left) + op + printed(n.Right) + ")"
	case *actionlint.CompareOpNode:
		op := " == "
		if n.Kind == actionlint.CompareOpNodeKindNotEq {
			op = " != "
		}
		return "(" + printed(n.Left) + op + printed(n.Right) + ")"
	}
	panic(fmt.Sprintf("cannot write %T: the workflows use more than this test knows", node))
}
