package infra

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"dagger/slipway/internal/infra/terraform"
)

// Format formats the root module and everything below it, and returns the
// files that were not formatted, sorted and relative to the source tree. With
// check it changes nothing.
func (s Stage) Format(ctx context.Context, check bool) ([]string, error) {
	w, err := s.begin()
	if err != nil {
		return nil, err
	}
	defer w.end()
	if check {
		v := Validation{}
		formatted, err := s.format(ctx, w, &v)
		if err != nil {
			return nil, err
		}
		if formatted.result.ExitCode != 0 && len(v.Findings) == 0 {
			return nil, formatted.failure(s.dir())
		}
		var names []string
		for _, f := range v.Findings {
			names = append(names, f.File)
		}
		slices.Sort(names)
		return names, nil
	}
	if _, err := w.must(ctx, s.root().ReformatStep()); err != nil {
		return nil, err
	}
	return s.reformatted(w)
}

// reformatted reads which files `terraform fmt` changed.
func (s Stage) reformatted(w *work) ([]string, error) {
	file, err := os.Open(w.file(terraform.StreamFile("fmt")))
	if err != nil {
		return nil, fmt.Errorf("reading what terraform fmt changed: %w", err)
	}
	defer file.Close()
	var names []string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if name := strings.TrimSpace(lines.Text()); name != "" {
			names = append(names, path.Join(s.dir(), name))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading what terraform fmt changed: %w", err)
	}
	slices.Sort(names)
	return names, nil
}
