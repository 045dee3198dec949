package report

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Figures are the four key metrics of DORA for an environment, from ECS's records of
// deployments and the tags of revisions. docs/operations.md has the definitions.
type Figures struct {
	// From is the time of the first record, at most 90 days before To.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Succeeded, Failed and InProgress count releases. Other counts deployments that no
	// release started, such as Terraform's, and nothing else includes these.
	Succeeded  int `json:"succeeded"`
	Failed     int `json:"failed"`
	InProgress int `json:"in_progress"`
	Other      int `json:"other_deployments"`
	// PerWeek is the number of successful releases in a week (deployment frequency).
	PerWeek float64 `json:"releases_per_week"`
	// LeadTime is from the commit to the end of its successful release; UnknownCommits counts
	// those that are not in the git repository.
	LeadTime       *Median `json:"lead_time,omitempty"`
	UnknownCommits int     `json:"unknown_commits"`
	// FailureRate is the share of failed releases, 0 to 1; absent without releases.
	FailureRate *float64 `json:"change_failure_rate,omitempty"`
	// Restore is from the start of a failed release until its services run a version that
	// works; Unrestored counts those of which that is not recorded.
	Restore    *Median `json:"time_to_restore,omitempty"`
	Unrestored int     `json:"unrestored"`
	// Releases are those that the figures are of, newest first.
	Releases []FigureRelease `json:"releases"`
}

// Median is a median of durations.
type Median struct {
	Seconds int64 `json:"median_seconds"`
	Of      int   `json:"of"` // how many
}

// FigureRelease is a release in [Figures].
type FigureRelease struct {
	Release string `json:"release"`
	SHA     string `json:"sha"`
	// At is when its first deployment started, and FinishedAt when the last one ended.
	At         time.Time `json:"at"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	// Result is succeeded, failed or, while it is in progress, started.
	Result   Result   `json:"result"`
	Services []string `json:"services"`
	// LeadTime and Restore are in seconds, absent if they are not known.
	LeadTime *int64 `json:"lead_time_seconds,omitempty"`
	Restore  *int64 `json:"time_to_restore_seconds,omitempty"`
}

// NewFigures returns the figures of releases in a period.
func NewFigures(from, to time.Time, other int, releases []FigureRelease) Figures {
	f := Figures{From: from.UTC(), To: to.UTC(), Other: other, Releases: releases}
	var leads, restores []int64
	for _, r := range releases {
		switch r.Result {
		case Succeeded:
			f.Succeeded++
			if r.LeadTime == nil {
				f.UnknownCommits++
			} else {
				leads = append(leads, *r.LeadTime)
			}
		case Failed:
			f.Failed++
			if r.Restore == nil {
				f.Unrestored++
			} else {
				restores = append(restores, *r.Restore)
			}
		default:
			f.InProgress++
		}
	}
	if weeks := to.Sub(from).Hours() / (7 * 24); weeks > 0 {
		f.PerWeek = float64(f.Succeeded) / max(weeks, 1)
	}
	if ended := f.Succeeded + f.Failed; ended > 0 {
		f.FailureRate = new(float64(f.Failed) / float64(ended))
	}
	f.LeadTime, f.Restore = median(leads), median(restores)
	return f
}

// median returns the median, or nil of none.
func median(seconds []int64) *Median {
	if len(seconds) == 0 {
		return nil
	}
	slices.Sort(seconds)
	n := len(seconds)
	return &Median{Seconds: (seconds[(n-1)/2] + seconds[n/2]) / 2, Of: n}
}

// rows returns the figures with what they are of.
func (f Figures) rows() [][3]string {
	counted := func(n int, what string) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprintf("; %d %s", n, what)
	}
	rate := "-"
	if f.FailureRate != nil {
		rate = fmt.Sprintf("%.1f %%", 100**f.FailureRate)
	}
	return [][3]string{
		{"deployment frequency", fmt.Sprintf("%.1f a week", f.PerWeek), fmt.Sprintf("%d successful releases since %s", f.Succeeded, formatTime(f.From)) + counted(f.InProgress, "in progress")},
		{"lead time for changes", f.LeadTime.text(), "median of " + f.LeadTime.of() + counted(f.UnknownCommits, "whose commit is not in this repository")},
		{"change failure rate", rate, fmt.Sprintf("%d of %d releases failed", f.Failed, f.Succeeded+f.Failed)},
		{"time to restore", f.Restore.text(), "median of " + f.Restore.of() + counted(f.Unrestored, "not restored, or not on record")},
	}
}

func (m *Median) text() string {
	if m == nil {
		return "-"
	}
	d := time.Duration(m.Seconds) * time.Second
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%.1f days", d.Hours()/24)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	case d >= 2*time.Minute:
		return fmt.Sprintf("%.1f min", d.Minutes())
	}
	return fmt.Sprintf("%d s", m.Seconds)
}

func (m *Median) of() string {
	if m == nil {
		return "0 releases"
	}
	return fmt.Sprintf("%d releases", m.Of)
}

func (f *Figures) text(b *strings.Builder) {
	if f == nil {
		return
	}
	for _, row := range f.rows() {
		fmt.Fprintf(b, "%-22s %-12s %s\n", row[0], row[1], row[2])
	}
}

func (f *Figures) markdown(b *strings.Builder) {
	if f == nil {
		return
	}
	b.WriteString("\n\n| figure | value | of |\n|---|---|---|\n")
	for _, row := range f.rows() {
		fmt.Fprintf(b, "| %s | %s | %s |\n", row[0], row[1], row[2])
	}
}
