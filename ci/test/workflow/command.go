package workflow

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/rhysd/actionlint"
	"mvdan.cc/sh/v3/syntax"
)

// Setup is the action that installs the commands below, and Scripts the folder that has
// them.
const (
	Setup   = ".github/actions/setup"
	Scripts = Setup + "/bin"
)

// ModuleScript calls the module. Script does so with a job's identity; its arguments start
// with FUNCTION. ReleaseScript does the same for functions that release, and shows their
// report also if they fail.
const (
	ModuleScript  = "dagger-module"
	Script        = "dagger-call"
	ReleaseScript = "dagger-release"
)

// ReleaseSetup is the action that has the commands which make a release of the pipeline.
const ReleaseSetup = ".github/actions/release"

// Call is a call of the Dagger module: dagger call CONSTRUCTOR FUNCTION FLAGS FIELDS.
type Call struct {
	File string
	Line int
	// Constructor and Flags are flag names, without dashes and values.
	Constructor []string
	Function    string
	Flags       []string
	// Fields are the selected fields of the result.
	Fields []string
}

// Calls returns all calls of the module. It parses commands as [Set.Check] does, which
// reports those that cannot be parsed.
func (s Set) Calls() (calls []Call) {
	for _, w := range s {
		for _, job := range w.jobs() {
			for _, step := range job.Steps {
				exec, ok := step.Exec.(*actionlint.ExecRun)
				if !ok {
					continue
				}
				c, err := parseCommand(text(exec.Run))
				if err != nil || c.call() == nil {
					continue
				}
				call := c.call()
				call.File, call.Line = w.Name, exec.Run.Pos.Line
				calls = append(calls, *call)
			}
		}
	}
	return calls
}

// command is the single command of a "run".
type command struct {
	words     []string // without quotes
	variables []string // variables that the words use
	set       bool     // by one of Scripts
	reported  bool     // by ReleaseScript
}

// allowed are the commands that a workflow may run. Anything more complex is a function
// of the module, where it can be tested.
var allowed = [][]string{
	{"dagger", "call"},
	{"cat"},
	{"gh", "pr", "comment"},
	{"gh", "issue", "list"},
	{"gh", "release", "create"},
	{"exit", "1"},
	{"exit", "0"},
	{"release-build"},
	{"release-sign"},
	{"release-image"},
}

// ofRelease are the commands of the action [ReleaseSetup], and the variables that they need.
var ofRelease = map[string][]string{"release-build": nil, "release-sign": nil, "release-image": {"REGISTRY_TOKEN"}}

// parseCommand parses a script that must be one command: no lists, no pipes, no
// substitutions. Its output may be appended to one of GitHub's files; files can be joined
// below $RUNNER_TEMP.
func parseCommand(script string) (command, error) {
	return parseOnce(&commands, script, parseScript)
}

// commands has the parsed scripts, by their text.
var commands sync.Map

// parseOnce parses a text that was not parsed before: the same ones are for every event. The
// results are shared, and must not be changed.
func parseOnce[T any](known *sync.Map, text string, parse func(string) (T, error)) (T, error) {
	if value, ok := known.Load(text); ok {
		return value.(T), nil
	}
	value, err := parse(text)
	if err == nil {
		known.Store(text, value)
	}
	return value, err
}

func parseScript(script string) (command, error) {
	if strings.Contains(script, "${{") {
		return command{}, errors.New("a value reaches a script by env, never by ${{ }}: whoever chooses the value writes the script")
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(script), "")
	if err != nil {
		return command{}, fmt.Errorf("not a script: %w", err)
	}
	if len(file.Stmts) != 1 {
		return command{}, fmt.Errorf("one command, not %d: logic belongs into the module", len(file.Stmts))
	}
	statement := file.Stmts[0]
	call, ok := statement.Cmd.(*syntax.CallExpr)
	if !ok || statement.Negated || statement.Background || len(call.Assigns) > 0 {
		return command{}, errors.New("one plain command: logic belongs into the module")
	}
	var c command
	for _, word := range call.Args {
		plain, err := plainWord(word)
		if err != nil {
			return command{}, err
		}
		c.words = append(c.words, plain)
	}
	syntax.Walk(call, func(node syntax.Node) bool {
		if p, ok := node.(*syntax.ParamExp); ok {
			c.variables = append(c.variables, p.Param.Value)
		}
		return true
	})
	switch script := c.words[0]; script {
	case ModuleScript:
		c.set, c.words = true, append([]string{"dagger", "call"}, c.words[1:]...)
		c.variables = append(c.variables, "SOURCE")
	case Script, ReleaseScript:
		c.set, c.words = true, append([]string{"dagger", "call"}, c.words[1:]...)
		c.variables = append(c.variables, "SOURCE", "AWS_ROLE", "AWS_REGION", "ENVIRONMENT")
		if script == ReleaseScript {
			c.reported = true
			c.variables = append(c.variables, "DEPLOYMENTS_TOKEN")
			c.words = append(c.words, "--tolerate", "reports")
		}
	}
	c.variables = append(c.variables, ofRelease[c.words[0]]...)
	for _, redirect := range statement.Redirs {
		to, err := plainWord(redirect.Word)
		joins := c.words[0] == "cat" && redirect.Op == syntax.RdrOut && strings.HasPrefix(to, "$RUNNER_TEMP/")
		if err != nil || !joins && (redirect.Op != syntax.AppOut || (to != "$GITHUB_STEP_SUMMARY" && to != "$GITHUB_OUTPUT")) {
			return command{}, errors.New(`output goes nowhere but >> "$GITHUB_STEP_SUMMARY" or >> "$GITHUB_OUTPUT", or that of cat > "$RUNNER_TEMP/FILE"`)
		}
	}
	if c.words[0] == "cat" && (len(c.words) != 2 || !strings.HasPrefix(c.words[1], "$RUNNER_TEMP/")) {
		return command{}, errors.New("cat shows one file that the pipeline wrote below $RUNNER_TEMP: a runner has others, with tokens")
	}
	for _, start := range allowed {
		if len(c.words) >= len(start) && slices.Equal(c.words[:len(start)], start) {
			return c, nil
		}
	}
	return command{}, fmt.Errorf("%s is not among the commands that a workflow may run: make it a function of the module", c.words[0])
}

// plainWord returns a word without its quotes. Variables must be quoted, or the shell
// would split their values.
func plainWord(word *syntax.Word) (string, error) {
	var b strings.Builder
	var write func(parts []syntax.WordPart, quoted bool) error
	write = func(parts []syntax.WordPart, quoted bool) error {
		for _, part := range parts {
			switch p := part.(type) {
			case *syntax.Lit:
				b.WriteString(p.Value)
			case *syntax.SglQuoted:
				b.WriteString(p.Value)
			case *syntax.DblQuoted:
				if err := write(p.Parts, true); err != nil {
					return err
				}
			case *syntax.ParamExp:
				if !quoted || !p.Short {
					return fmt.Errorf(`write "$%s", in quotes and as it is`, p.Param.Value)
				}
				b.WriteString("$" + p.Param.Value)
			default:
				return errors.New("no substitutions: logic belongs into the module")
			}
		}
		return nil
	}
	err := write(word.Parts, false)
	return b.String(), err
}

// call returns the module call in a command, or nil.
func (c command) call() *Call {
	if c.words[0] != "dagger" {
		return nil
	}
	var call Call
	for _, word := range c.words[2:] {
		flag, isFlag := strings.CutPrefix(word, "--")
		flag, _, _ = strings.Cut(flag, "=")
		switch {
		case !isFlag && call.Function == "":
			call.Function = word
		case !isFlag:
			call.Fields = append(call.Fields, word)
		case call.Function == "":
			call.Constructor = append(call.Constructor, flag)
		case len(call.Fields) == 0:
			call.Flags = append(call.Flags, flag)
		}
	}
	return &call
}

// function returns the module function that a command calls, or "".
func (c command) function() string {
	if call := c.call(); call != nil {
		return call.Function
	}
	return ""
}

// short returns the command as shown in a table row.
func (c command) short() string {
	switch {
	case c.function() != "":
		return c.function()
	case c.words[0] == "gh":
		return strings.Join(c.words[:3], " ")
	}
	return c.words[0]
}
