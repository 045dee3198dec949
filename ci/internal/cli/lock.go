package cli

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/image"
	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/source"
)

func (a *app) lockCommand() *cobra.Command {
	var check bool
	var names []string
	cmd := &cobra.Command{
		Use:   "lock",
		Short: "Lock the images from elsewhere to what their registries have now",
		Long: `Lock asks the registries which images the references in ` + image.LockFile + `
name now and writes their digests there. A file that is up to date is not
touched. Registries that want a login get the one of docker login.`,
		Example: `  slipway lock
  slipway lock --image nginx
  slipway lock --check`,
	}
	cmd.Flags().BoolVar(&check, "check", false, "change nothing, and end with exit code 1 if the file is not up to date")
	cmd.Flags().StringSliceVar(&names, "image", nil, "lock only these images (default all)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		tree, err := source.Open(cmd.Context(), a.source)
		if err != nil {
			return err
		}
		lock, err := image.ReadLock(tree.Dir)
		if err != nil {
			return err
		}
		renewed, renewals, err := lock.Renew(cmd.Context(), names...)
		if err != nil {
			return err
		}
		stale := 0
		for _, r := range renewals {
			if r.Stale() {
				stale++
			}
		}
		if stale > 0 && !check {
			if err := renewed.Write(tree.Dir); err != nil {
				return err
			}
		}
		if stale > 0 && check {
			a.code = outcome.Failed
			fmt.Fprintf(a.stderr, "%s is not up to date: run slipway lock and commit the file\n", image.LockFile)
		}
		return a.printRenewals(renewals, check)
	}
	return cmd
}

func (a *app) printRenewals(renewals []image.Renewal, check bool) error {
	renewed := image.NewRenewals(renewals, check)
	switch a.output {
	case jsonDoc:
		return report.WriteJSON(a.stdout, renewed)
	case markdown:
		fmt.Fprintf(a.stdout, "| image | state | before | now | platforms |\n|---|---|---|---|---|\n")
		for _, r := range renewed.Images {
			fmt.Fprintf(a.stdout, "| %s | %s | `%s` | `%s` | %s |\n", r.Reference, r.State, cmp.Or(r.Locked, "none"), r.Digest, strings.Join(r.Platforms, ", "))
		}
	default:
		for _, r := range renewed.Images {
			fmt.Fprintf(a.stdout, "%-12s %-10s  %s@%s  %s\n", r.Image, r.State, r.Reference, r.Digest, strings.Join(r.Platforms, ","))
			if r.Stale() && r.Locked != "" {
				fmt.Fprintf(a.stdout, "%-12s %-10s  %s\n", "", "before", r.Locked)
			}
		}
	}
	return nil
}
