// Package changes decides whether a push or pull request can change the released
// services, and whether it can change the platform.
package changes

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Changes describes what changed since a commit.
type Changes struct {
	// Deploy is set if the released services may have changed. It is set in case of
	// doubt: a release skips services whose digest is unchanged.
	Deploy bool `json:"deploy"`
	// Plan is set if the Terraform configuration may have changed.
	Plan bool `json:"plan"`
	// Reason explains the decision on one line.
	Reason string `json:"reason"`
}

// Since compares the tree's commit with an earlier one. If the earlier commit is unknown,
// everything counts as changed: an unnecessary plan costs a minute, and a missing one
// hides a change.
func Since(ctx context.Context, tree source.Tree, p platform.Platform, commit string) (Changes, error) {
	files, known, err := tree.Changed(ctx, commit)
	if err != nil {
		return Changes{}, fmt.Errorf("comparing with %s: %w", commit, err)
	}
	if !known {
		return Changes{Deploy: true, Plan: true, Reason: "the earlier commit is unknown, so everything counts as changed"}, nil
	}
	c := Changes{Reason: fmt.Sprintf("%s changed since %s; none affects a release or the platform", outcome.Count(len(files), "file"), commit)}
	var deploy, plan string
	for _, file := range files {
		if !c.Deploy && affectsRelease(file, p) {
			c.Deploy, deploy = true, fmt.Sprintf("; affects the release: %q", file)
		}
		if !c.Plan && affectsPlatform(file) {
			c.Plan, plan = true, fmt.Sprintf("; affects the platform: %q", file)
		}
	}
	if c.Deploy || c.Plan {
		c.Reason = fmt.Sprintf("%s changed since %s%s%s", outcome.Count(len(files), "file"), commit, deploy, plan)
	}
	return c, nil
}

// Outputs returns the lines that a GitHub Actions step appends to GITHUB_OUTPUT.
func (c Changes) Outputs() string { return fmt.Sprintf("deploy=%t\nplan=%t\n", c.Deploy, c.Plan) }

const platformFolder = "terraform/"

// affectsPlatform reports whether Terraform reads a file.
func affectsPlatform(file string) bool {
	return strings.HasPrefix(file, platformFolder) && !isMarkdown(file)
}

// affectsRelease reports whether a file may change a release. Unknown files count,
// because the pipeline itself builds the images.
func affectsRelease(file string, p platform.Platform) bool {
	inService := false
	for _, s := range p.Services {
		switch {
		case s.Kind == platform.Dockerfile && (file == s.DockerfilePath() || s.Path == "." || strings.HasPrefix(file, s.Path+"/")):
			return true // any file may be copied
		case s.HasFile(file):
			return true
		case s.Kind != platform.Prebuilt && isIn(s, file): // a page may be Markdown, too
			if file != path.Join(s.Path, "README.md") {
				return true
			}
			inService = true
		}
	}
	if inService {
		return false
	}
	switch {
	case file == platform.ServicesFile, strings.HasPrefix(file, platform.EnvironmentsDir+"/") && !isMarkdown(file):
		return true
	case strings.HasPrefix(file, platformFolder), strings.HasPrefix(file, ".github/"), strings.HasPrefix(file, "docs/"):
		return false
	}
	return !isMarkdown(file) && file != "LICENSE"
}

// isIn reports whether a file is in a service's folder. Of a service in the root, what is for
// Terraform and GitHub is not.
func isIn(s platform.Service, file string) bool {
	if s.Path == "." {
		return file != "LICENSE" && !strings.HasPrefix(file, platformFolder) && !strings.HasPrefix(file, ".github/")
	}
	return strings.HasPrefix(file, s.Path+"/")
}

func isMarkdown(file string) bool { return strings.EqualFold(path.Ext(file), ".md") }
