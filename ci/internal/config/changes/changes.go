// Package changes says what a push or a pull request means for the pipeline:
// whether it can change what is released, and whether it can change the platform.
package changes

import (
	"context"
	"fmt"
	"path"
	"strings"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/config/source"
)

// Changes is what has changed since a commit.
type Changes struct {
	// Deploy tells that something changed which a release may be made of. It errs
	// on the side of releasing: unchanged services are told by their digests.
	Deploy bool `json:"deploy"`
	// Plan tells that something changed which the platform is made of.
	Plan bool `json:"plan"`
	// Reason is one line for people.
	Reason string `json:"reason"`
}

// Since compares the tree's commit with an earlier one, as GitHub names it. Where
// there is nothing to compare with, everything counts as changed: a plan too many
// costs a minute, a plan too few hides a change.
func Since(ctx context.Context, tree source.Tree, p platform.Platform, commit string) (Changes, error) {
	files, known, err := tree.Changed(ctx, commit)
	if err != nil {
		return Changes{}, fmt.Errorf("comparing with %s: %w", commit, err)
	}
	if !known {
		return Changes{Deploy: true, Plan: true, Reason: "there is no earlier commit to compare with, so everything counts as changed"}, nil
	}
	c := Changes{Reason: fmt.Sprintf("%d files changed since %s; nothing that is released or the platform is made of", len(files), commit)}
	var deploy, plan string
	for _, file := range files {
		if !c.Deploy && affectsRelease(file, p) {
			c.Deploy, deploy = true, fmt.Sprintf("; released: %q", file)
		}
		if !c.Plan && affectsPlatform(file) {
			c.Plan, plan = true, fmt.Sprintf("; of the platform: %q", file)
		}
	}
	if c.Deploy || c.Plan {
		c.Reason = fmt.Sprintf("%d files changed since %s%s%s", len(files), commit, deploy, plan)
	}
	return c, nil
}

// Outputs are the lines that a step of GitHub Actions appends to GITHUB_OUTPUT.
func (c Changes) Outputs() string { return fmt.Sprintf("deploy=%t\nplan=%t\n", c.Deploy, c.Plan) }

const platformFolder = "terraform/"

// affectsPlatform tells whether Terraform reads a file. Its documentation it does not.
func affectsPlatform(file string) bool {
	return strings.HasPrefix(file, platformFolder) && !isMarkdown(file)
}

// affectsRelease tells whether a file may decide what runs. What is not known not to is
// taken to: the pipeline itself builds the images.
func affectsRelease(file string, p platform.Platform) bool {
	for _, s := range p.Services {
		if strings.HasPrefix(file, s.Path+"/") { // a page may be Markdown, too
			return file != path.Join(s.Path, "README.md")
		}
	}
	switch {
	case file == platform.ServicesFile:
		return true
	case strings.HasPrefix(file, platformFolder), strings.HasPrefix(file, ".github/"), strings.HasPrefix(file, "docs/"):
		return false
	}
	return !isMarkdown(file) && file != "LICENSE"
}

func isMarkdown(file string) bool { return strings.EqualFold(path.Ext(file), ".md") }
