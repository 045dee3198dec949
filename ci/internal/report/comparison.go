package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// comparedRow is a property of a service in two environments.
type comparedRow struct{ service, property, here, there, result string }

// compared returns what the services run here and in the environment of With.
func (s Status) compared() []comparedRow {
	there := map[string]ServiceStatus{}
	for _, service := range s.With.Services {
		there[service.Name] = service
	}
	var rows []comparedRow
	for _, here := range s.Services {
		other := there[here.Name]
		for _, p := range []struct {
			name  string
			value func(ServiceStatus) string
			equal bool // whether the environments should have the same
		}{
			{"commit", func(s ServiceStatus) string { return s.Version.Short() }, true},
			{"digest", ServiceStatus.digest, true},
			{"state", func(s ServiceStatus) string { return string(s.State) }, false},
			{"tasks", ServiceStatus.tasks, false},
			{"since", func(s ServiceStatus) string { return formatTime(s.Since) }, false},
		} {
			row := comparedRow{here.Name, p.name, p.value(here), p.value(other), ""}
			if p.equal {
				if row.result = "equal"; row.here != row.there {
					row.result = "differs"
				}
			}
			rows = append(rows, row)
		}
		if here.Error != "" || other.Error != "" {
			rows = append(rows, comparedRow{service: here.Name, property: "error", here: here.Error, there: other.Error})
		}
	}
	return rows
}

// digest returns the digest of the image, "-" for none.
func (s ServiceStatus) digest() string {
	_, digest, ok := strings.Cut(s.Version.Image, "@")
	if !ok {
		return "-"
	}
	return digest
}

// comparedText writes the status of two environments side by side for a terminal.
func (s Status) comparedText(w io.Writer) error {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "service\t\t%s\t%s\t\n", s.Environment, s.With.Environment)
	last := ""
	for _, row := range s.compared() {
		name := row.service
		if name == last {
			name = ""
		}
		last = row.service
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", name, row.property, row.here, row.there, row.result)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, one := range []Status{s, *s.With} {
		if one.Next != "" {
			fmt.Fprintf(&b, "next in %s: %s\n", one.Environment, one.Next)
		}
	}
	for line := range strings.Lines(b.String()) {
		if _, err := io.WriteString(w, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// comparedMarkdown writes the status of two environments side by side for a job summary.
func (s Status) comparedMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## What runs in %[1]s and %[2]s\n\n| service | | %[1]s | %[2]s | |\n|---|---|---|---|---|\n", Inline(s.Environment), Inline(s.With.Environment))
	for _, row := range s.compared() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", Inline(row.service), row.property, cell(row.here), cell(row.there), row.result)
	}
	for _, one := range []Status{s, *s.With} {
		if one.Next != "" {
			fmt.Fprintf(&b, "\n> %s: %s.\n", Inline(one.Environment), Inline(one.Next))
		}
	}
	return WriteMarkdown(w, b.String())
}
