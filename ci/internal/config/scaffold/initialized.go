package scaffold

import (
	"fmt"
	"io"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Initialized is what was found in a repository and written to it.
type Initialized struct {
	// Version is the release of slipway that the files name.
	Version string `json:"version"`
	// Services are the entries of the services file.
	Services []Taken `json:"services"`
	// Skipped are findings of which no entry was made.
	Skipped []Skipped `json:"skipped"`
	// Files are the files that were written, relative to the root.
	Files []string `json:"files"`
	// Next are the commands that follow.
	Next []Next `json:"next"`
}

// Taken is an entry, and why it is as it is.
type Taken struct {
	Name    string           `json:"name"`
	Kind    platform.Kind    `json:"kind"`
	Path    string           `json:"path"`
	Port    int              `json:"port"`
	Routes  []string         `json:"routes"`
	Entry   platform.Service `json:"-"`
	Reasons []string         `json:"reasons"`
}

func newTaken(entry platform.Service, reasons ...string) Taken {
	return Taken{Name: entry.Name, Kind: entry.Kind, Path: entry.Path, Port: entry.Port, Routes: append([]string{}, entry.Routes...), Entry: entry, Reasons: reasons}
}

// Skipped is a finding of which no entry was made.
type Skipped struct {
	At     string `json:"at"`
	Reason string `json:"reason"`
}

// Next is a command, and what it does.
type Next struct {
	Command string `json:"command"`
	Does    string `json:"does"`
}

// followingCommands are the commands that follow after a repository got the pipeline.
var followingCommands = []Next{
	{"slipway rehearse", "tests, builds and releases the services on this machine, with an embedded AWS"},
	{`git add --all && git commit -m "Deliver with Slipway"`, "releases are of commits; terraform -chdir=terraform init -backend=false first writes .terraform.lock.hcl, which a plan needs"},
	{"slipway plan --backend-config=bucket=BUCKET", "plans the platform, after bootstrap: terraform -chdir=terraform/bootstrap apply"},
}

// JSON writes the result as one JSON document.
func (i Initialized) JSON(w io.Writer) error {
	if i.Skipped == nil {
		i.Skipped = []Skipped{}
	}
	return report.WriteJSON(w, i)
}

// Text writes the result for a terminal.
func (i Initialized) Text(w io.Writer) error {
	var b strings.Builder
	for _, s := range i.Services {
		fmt.Fprintf(&b, "service %s of kind %s in %s%s\n", s.Name, s.Kind, s.Entry.Path, traffic(s.Entry, "for ", " ", "")+arguments(s.Entry))
		for _, reason := range s.Reasons {
			fmt.Fprintf(&b, "  because  %s\n", reason)
		}
	}
	for _, s := range i.Skipped {
		fmt.Fprintf(&b, "not taken  %s: %s\n", s.At, s.Reason)
	}
	for _, name := range i.Files {
		fmt.Fprintf(&b, "wrote      %s\n", name)
	}
	b.WriteString("Next:\n")
	for _, next := range i.Next {
		fmt.Fprintf(&b, "  %s\n      %s\n", next.Command, next.Does)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// arguments describes the command of a service.
func arguments(s platform.Service) string {
	if len(s.Command) == 0 {
		return ""
	}
	return ", with " + strings.Join(s.Command, " ")
}

// Markdown writes the result as Markdown.
func (i Initialized) Markdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| service | kind | folder | why |\n|---|---|---|---|\n")
	for _, s := range i.Services {
		fmt.Fprintf(&b, "| %s | %s | `%s` | %s |\n", s.Name, s.Kind, s.Entry.Path, report.Inline(strings.Join(s.Reasons, "; ")))
	}
	for _, s := range i.Skipped {
		fmt.Fprintf(&b, "| not taken | | `%s` | %s |\n", s.At, report.Inline(s.Reason))
	}
	b.WriteString("\n")
	for _, name := range i.Files {
		fmt.Fprintf(&b, "- `%s`\n", name)
	}
	b.WriteString("\nNext:\n\n")
	for n, next := range i.Next {
		fmt.Fprintf(&b, "%d. `%s` %s\n", n+1, next.Command, next.Does)
	}
	return report.WriteMarkdown(w, b.String())
}
