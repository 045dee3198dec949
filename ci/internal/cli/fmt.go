package cli

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/gofmt"
	"dagger/slipway/internal/infra"
	"dagger/slipway/internal/outcome"
)

// formatted is what fmt prints.
type formatted struct {
	Result string   `json:"result"` // "unchanged", "changed", or "failed" where --check found something
	Files  []string `json:"files"`
}

func (a *app) fmtCommand() *cobra.Command {
	var f infraFlags
	var check bool
	cmd := &cobra.Command{
		Use:   "fmt",
		Short: "Format Go and Terraform files",
		Long: `Fmt formats the Go files that git tracks, as gofumpt does, and the Terraform
configuration, and tells which files it changed. With --check it changes nothing,
and fails if there is something to change.`,
		Example: `  slipway fmt
  slipway fmt --check`,
	}
	f.bindDir(cmd)
	cmd.Flags().BoolVar(&check, "check", false, "change nothing, and fail if a file is not formatted")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		stage, err := a.stage(cmd.Context(), f)
		if err != nil {
			return err
		}
		result := formatted{Result: "unchanged", Files: []string{}}
		files, goErr := gofmt.Run(cmd.Context(), stage.Tree, check)
		result.Files = append(result.Files, files...)
		var terraformErr error
		if found, _ := filepath.Glob(filepath.Join(stage.Tree.Dir, stage.Dir, "*.tf")); len(found) > 0 { // --dir was checked
			files, terraformErr = stage.Format(cmd.Context(), check)
			result.Files = append(result.Files, files...)
		}
		switch {
		case len(result.Files) > 0 && check:
			result.Result = string(infra.Failed)
			a.code = outcome.Failed
		case len(result.Files) > 0:
			result.Result = "changed"
		}
		return errors.Join(a.printFormatted(result), goErr, terraformErr)
	}
	return cmd
}

func (a *app) printFormatted(result formatted) error {
	if a.output == jsonDoc {
		return printJSON(a.stdout, result)
	}
	line := "%s\n"
	if a.output == markdown {
		line = "- `%s`\n"
	}
	for _, file := range result.Files {
		if _, err := fmt.Fprintf(a.stdout, line, file); err != nil {
			return err
		}
	}
	return nil
}
