package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Run is the result of a one-off task.
type Run struct {
	// Task is the ARN.
	Task string
	// Output is what the container has logged, without secrets.
	Output string
	// Json is the report for programs.
	Json string
	// Markdown is the report for a job summary.
	Markdown string
	// Report is the report for a terminal.
	Report string
}

// Logs are lines of containers' logs.
type Logs struct {
	// Text has the lines, each with the service and the task.
	Text string
	// Json has the lines for programs.
	Json string
}

// Run runs a one-off task of a service or job and waits until it has ended.
//
// It uses the revision that runs, with its network, roles and secrets. The call fails with the cause if
// the container does not exit with 0.
//
// +cache="never"
func (m *Slipway) Run(
	ctx context.Context,
	// Service or job.
	name string,
	// Command, which replaces that of the container. Default: the container's own.
	//
	// +optional
	command []string,
	// Full id of the commit to run; it must be published. Default: what runs.
	//
	// +optional
	sha string,
	// Container that runs the command. Default: the main one.
	//
	// +optional
	container string,
	// Environment variables to add, as NAME=VALUE. They are not secret.
	//
	// +optional
	setEnv []string,
	// Maximum duration of the task; then it is stopped.
	//
	// +default="1h"
	timeout string,
	// Start the task and do not wait for it.
	//
	// +optional
	noWait bool,
) (*Run, error) {
	var output []string
	o := delivery.RunOptions{Command: command, SHA: sha, Container: container, NoWait: noWait}
	if err := parseLimit("timeout", timeout, &o.Timeout); err != nil {
		return nil, err
	}
	var err error
	if o.Environment, err = delivery.ParseEnvironment(setEnv); err != nil {
		return nil, err
	}
	ran, r, err := runStage(ctx, m, func(p pipeline.Pipeline) (report.Run, error) {
		o.Output = func(lines []string) {
			output = append(output, lines...)
			for _, line := range lines {
				p.Recorder.Line("  | " + line)
			}
		}
		return p.Run(ctx, name, o)
	})
	if err != nil {
		return nil, err
	}
	if ran.ExitCode != outcome.Done {
		return nil, errors.New(r.text + report.Printable(lastLines(output)))
	}
	return &Run{Task: ran.Task.Task, Output: strings.Join(output, "\n"), Json: r.json, Markdown: r.markdown, Report: r.text}, nil
}

// lastLines returns the end of a task's output, for an error.
func lastLines(output []string) string {
	const most = 20
	var b strings.Builder
	for _, line := range output[max(0, len(output)-most):] {
		fmt.Fprintf(&b, "  | %s\n", line)
	}
	return b.String()
}

// Logs shows what the containers of services and jobs have logged.
//
// +cache="never"
func (m *Slipway) Logs(
	ctx context.Context,
	// Only these services. Default: all.
	//
	// +optional
	services []string,
	// How far to look back.
	//
	// +default="10m"
	since string,
	// Only this task, by id or ARN.
	//
	// +optional
	task string,
	// Only tasks of this commit (full id) that run or have stopped lately.
	//
	// +optional
	sha string,
) (*Logs, error) {
	o := delivery.LogOptions{Task: task, SHA: sha}
	if err := parseLimit("since", since, &o.Since); err != nil {
		return nil, err
	}
	_, r, err := runStage(ctx, m, func(p pipeline.Pipeline) (report.Logs, error) { return p.Logs(ctx, services, o) })
	return &Logs{Text: r.text, Json: r.json}, err
}
