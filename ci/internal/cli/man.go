package cli

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/version"
)

func (a *app) manCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "man",
		Short: "Write the manual pages",
		Long: `Man writes a manual page per command, for man(1). The pages bear the date of the
commit that slipway was made of, or that of SOURCE_DATE_EPOCH, so that the same
commit gives the same pages.`,
		Example: `  slipway man
  slipway man --out ~/.local/share/man/man1 && man slipway-deploy`,
	}
	cmd.Flags().StringVar(&out, "out", ".slipway/man", "directory to write the pages to")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		info := version.Read(cmd.Context(), a.source)
		at, err := pageDate(os.Getenv("SOURCE_DATE_EPOCH"), info.CommittedAt)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(out, 0o755); err != nil {
			return outcome.Usagef("making the output directory: %w: name another directory with --out", err)
		}
		root := cmd.Root()
		root.DisableAutoGenTag = true // it bears the day on which the page was written
		header := &doc.GenManHeader{Section: "1", Date: &at, Source: "slipway " + info.Version, Manual: "Slipway"}
		if err := doc.GenManTree(root, header, out); err != nil {
			return fmt.Errorf("writing the manual pages: %w", err)
		}
		fmt.Fprintf(a.stderr, "read them with: man %s\n", filepath.Join(out, "slipway.1"))
		return nil
	}
	return cmd
}

// undated is the date of pages of which nobody knows the commit.
var undated = time.Unix(0, 0).UTC()

// pageDate is the date that the pages bear. SOURCE_DATE_EPOCH, in seconds, comes
// first: https://reproducible-builds.org/specs/source-date-epoch/
func pageDate(epoch string, committed *time.Time) (time.Time, error) {
	if epoch == "" {
		return cmp.Or(committed, &undated).UTC(), nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, outcome.Usagef("SOURCE_DATE_EPOCH %q: set it to seconds since 1970, or unset it", epoch)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
