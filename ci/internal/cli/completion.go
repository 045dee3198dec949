package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/slipway-cd/slipway/ci/internal/check/lint"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
)

// recentCommits is how many commits are completed.
const recentCommits = 20

// valuesFunc returns the possible values of a flag, each optionally with a description
// after a tab. It returns none on an error, because completion cannot show errors.
type valuesFunc func(cmd *cobra.Command) []string

// flagValues returns the values of flags by name, for all commands.
func (a *app) flagValues() map[string]valuesFunc {
	return map[string]valuesFunc{
		"output":       fixedValues(text, jsonDoc, markdown),
		"env":          a.environmentNames,
		"with":         a.environmentNames,
		"service":      a.serviceNames,
		"scenario":     fixedValues(rehearsal.Scenarios()...),
		"only":         fixedValues(lint.Kinds()...),
		"platform":     platformNames,
		"latest":       fixedValues("auto", "true", "false"),
		"fail-on":      fixedValues(supplychain.Critical, supplychain.High, supplychain.Medium, supplychain.Low, supplychain.ThresholdNone),
		"pause-at":     fixedValues(delivery.PauseStages()...),
		"strategy":     fixedValues(delivery.Strategies()...),
		"image":        a.lockedImages,
		"sha":          a.commits,
		"to":           a.commits,
		"of":           a.commits,
		"min-coverage": a.modules,
		"fault":        fixedValues(localaws.Throttle, localaws.ServerError, localaws.Reset, localaws.Slow, localaws.ExpiredToken, localaws.LostResponse, localaws.StaleRead, localaws.AccessDenied, localaws.NoCapacity, localaws.Hidden),
	}
}

// Flags that the shell completes with folders and files.
var (
	folderFlags = map[string]bool{"source": true, "out": true, "from": true, "plan": true, "dir": true}
	fileFlags   = map[string]bool{"key": true, "sign-key": true, "trusted-root": true, "signing-config": true, "exceptions": true, "var-file": true, "backend-config": true}
)

// registerCompletions registers the completion of each flag and argument of a command and
// its subcommands.
func (a *app) registerCompletions(cmd *cobra.Command) {
	known := a.flagValues()
	register := func(flag *pflag.Flag) {
		if _, done := cmd.GetFlagCompletionFunc(flag.Name); done {
			return
		}
		find, ok := known[flag.Name]
		switch {
		case ok:
			_ = cmd.RegisterFlagCompletionFunc(flag.Name, completeWith(find)) // the flag exists
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

// completeWith completes with values. In a list it completes the part after the last
// comma, and omits values that are already in the list.
func completeWith(find valuesFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		directive := cobra.ShellCompDirectiveNoFileComp
		all := find(cmd)
		for _, value := range all {
			if strings.HasSuffix(value, "=") {
				directive |= cobra.ShellCompDirectiveNoSpace
			}
		}
		list, last := "", toComplete
		if i := strings.LastIndex(toComplete, ","); i >= 0 {
			list, last = toComplete[:i+1], toComplete[i+1:]
		}
		var completions []cobra.Completion
		for _, value := range matching(all, last, strings.Split(list, ",")) {
			completions = append(completions, list+value)
		}
		return completions, directive
	}
}

// matching returns the values with a prefix whose name is not in used. It changes all.
func matching(all []string, prefix string, used []string) []string {
	return slices.DeleteFunc(all, func(value string) bool {
		name, _, _ := strings.Cut(value, "\t")
		return !strings.HasPrefix(value, prefix) || slices.Contains(used, name)
	})
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

func (a *app) environmentNames(*cobra.Command) []string {
	environments, err := platform.Environments(a.source)
	if err != nil {
		return nil
	}
	return platform.EnvironmentNames(environments)
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

// modules returns the beginnings of module-specific values of --min-coverage.
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
