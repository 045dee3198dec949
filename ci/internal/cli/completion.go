package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dagger/slipway/internal/check/lint"
	"dagger/slipway/internal/images/image"
	"dagger/slipway/internal/images/supplychain"
	"dagger/slipway/internal/rehearse/localaws"
	"dagger/slipway/internal/rehearse/rehearsal"
)

// recentCommits is how many commits a shell offers.
const recentCommits = 20

// valuesFunc finds what could stand for a flag's or an argument's value. A
// description is set off by a tab. What cannot be found out is not offered: a
// shell that completes is no place for errors.
type valuesFunc func(cmd *cobra.Command) []string

// flagValues are the values of flags, by their names: the same name means the
// same everywhere.
func (a *app) flagValues() map[string]valuesFunc {
	return map[string]valuesFunc{
		"output":       fixedValues(text, jsonDoc, markdown),
		"service":      a.serviceNames,
		"scenario":     fixedValues(rehearsal.Scenarios()...),
		"only":         fixedValues(lint.Kinds()...),
		"platform":     platformNames,
		"latest":       fixedValues("auto", "true", "false"),
		"fail-on":      fixedValues(supplychain.Critical, supplychain.High, supplychain.Medium, supplychain.Low, supplychain.Never),
		"image":        a.lockedImages,
		"sha":          a.commits,
		"to":           a.commits,
		"of":           a.commits,
		"min-coverage": a.modules,
		"fault":        fixedValues(localaws.Throttle, localaws.ServerError, localaws.Reset, localaws.Slow, localaws.ExpiredToken, localaws.Lost, localaws.Stale, localaws.Denied),
	}
}

// Flags that name folders and files, which the shell knows best.
var (
	folderFlags = map[string]bool{"source": true, "out": true, "from": true, "plan": true, "dir": true}
	fileFlags   = map[string]bool{"key": true, "sign-key": true, "trusted-root": true, "signing-config": true, "exceptions": true, "var-file": true, "backend-config": true}
)

// registerCompletions tells cobra how to complete each flag and argument of each command.
func (a *app) registerCompletions(cmd *cobra.Command) {
	known := a.flagValues()
	register := func(flag *pflag.Flag) {
		if _, done := cmd.GetFlagCompletionFunc(flag.Name); done {
			return
		}
		find, ok := known[flag.Name]
		switch {
		case ok:
			_ = cmd.RegisterFlagCompletionFunc(flag.Name, completeWith(find)) // fails for no flag that there is
		case folderFlags[flag.Name]:
			_ = cmd.MarkFlagDirname(flag.Name)
		case fileFlags[flag.Name]:
			_ = cmd.MarkFlagFilename(flag.Name)
		default:
			_ = cmd.RegisterFlagCompletionFunc(flag.Name, cobra.NoFileCompletions)
		}
	}
	cmd.LocalFlags().VisitAll(register)
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, child := range cmd.Commands() {
		a.registerCompletions(child)
	}
}

// offer completes with values; where a flag takes a list, what stands before the
// last comma is kept, and not offered again.
func completeWith(find valuesFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		directive := cobra.ShellCompDirectiveNoFileComp
		all := find(cmd)
		for _, value := range all {
			if strings.HasSuffix(value, "=") {
				directive |= cobra.ShellCompDirectiveNoSpace
			}
		}
		done, rest := "", begun
		if i := strings.LastIndex(begun, ","); i >= 0 {
			done, rest = begun[:i+1], begun[i+1:]
		}
		var offered []cobra.Completion
		for _, value := range without(withPrefix(all, rest), strings.Split(done, ",")) {
			offered = append(offered, done+value)
		}
		return offered, directive
	}
}

// without are the values that were not taken yet.
func without(all, taken []string) []string {
	return slices.DeleteFunc(all, func(value string) bool {
		name, _, _ := strings.Cut(value, "\t")
		return slices.Contains(taken, name)
	})
}

func withPrefix(all []string, begun string) []string {
	var some []string
	for _, value := range all {
		if strings.HasPrefix(value, begun) {
			some = append(some, value)
		}
	}
	return some
}

func fixedValues[T ~string](all ...T) valuesFunc {
	return func(*cobra.Command) []string {
		names := make([]string, len(all))
		for i, one := range all {
			names[i] = string(one)
		}
		return names
	}
}

func platformNames(*cobra.Command) []string {
	var names []string
	for _, p := range image.DefaultPlatforms() {
		names = append(names, p.String())
	}
	return names
}

func (a *app) serviceNames(*cobra.Command) []string {
	services, err := a.pipeline("", nil).Services()
	if err != nil {
		return nil
	}
	var names []string
	for _, s := range services {
		names = append(names, s.Name+"\t"+string(s.Kind)+" in "+s.Path)
	}
	return names
}

// modules are those whose coverage has a gate of its own.
func (a *app) modules(*cobra.Command) []string {
	modules, err := a.pipeline("", nil).Modules()
	if err != nil {
		return nil
	}
	var names []string
	for _, module := range modules {
		names = append(names, module+"=")
	}
	return names
}

func (a *app) lockedImages(*cobra.Command) []string {
	lock, err := a.pipeline("", nil).ImageLock()
	if err != nil {
		return nil
	}
	var names []string
	for name, pin := range lock.Images {
		names = append(names, name+"\t"+pin.Reference)
	}
	return names
}

func (a *app) commits(cmd *cobra.Command) []string {
	recent, err := a.pipeline("", nil).Commits(cmd.Context(), recentCommits)
	if err != nil {
		return nil
	}
	var names []string
	for _, commit := range recent {
		names = append(names, commit.SHA+"\t"+commit.Subject)
	}
	return names
}
