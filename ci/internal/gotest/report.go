package gotest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"dagger/slipway/internal/coverage"
)

// document is a file of the report directory.
type document struct {
	name  string
	write func(w io.Writer) error
}

// documents lists what the report directory holds.
func documents(s Summary, verdicts []verdict, report coverage.Report, gate coverage.Gate) []document {
	return []document{
		{"coverage.out", report.WriteProfile},
		{"coverage.html", func(w io.Writer) error { return report.WriteHTML(w, gate) }},
		{"cobertura.xml", func(w io.Writer) error { return report.WriteCobertura(w, time.Now()) }},
		{"junit.xml", func(w io.Writer) error { return writeJUnit(w, verdicts) }},
		{"summary.md", func(w io.Writer) error {
			_, err := io.WriteString(w, s.markdown(report, gate))
			return err
		}},
	}
}

// prepareReport makes dir and proves it writable, before minutes go into tests
// whose report has no place. It removes an earlier report, which would pass for
// this run's if this one is cut short.
func prepareReport(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		var probe *os.File
		if probe, err = os.CreateTemp(dir, ".probe-*"); err == nil {
			_ = probe.Close()
			err = os.Remove(probe.Name())
		}
	}
	for _, d := range documents(Summary{}, nil, coverage.Report{}, coverage.Gate{}) {
		if err == nil {
			if err = os.Remove(filepath.Join(dir, d.name)); os.IsNotExist(err) {
				err = nil
			}
		}
	}
	return reportError(dir, err)
}

// writeReport writes all documents, or none and no temporary file either.
func writeReport(dir string, docs []document) (err error) {
	var written []string // temporary name of each document
	defer func() {
		for _, name := range written {
			_ = os.Remove(name) // gone already where it was renamed
		}
	}()
	for _, d := range docs {
		file, err := os.CreateTemp(dir, "."+d.name+"-*")
		if err != nil {
			return reportError(dir, err)
		}
		written = append(written, file.Name())
		out := bufio.NewWriter(file)
		err = d.write(out)
		if flushErr := out.Flush(); err == nil {
			err = flushErr
		}
		if err == nil {
			err = file.Chmod(0o644)
		}
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return reportError(dir, err)
		}
	}
	for i, d := range docs {
		if err := os.Rename(written[i], filepath.Join(dir, d.name)); err != nil {
			return reportError(dir, err)
		}
	}
	return nil
}

func reportError(dir string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the test report cannot be written to directory %s; make room there or choose another: %w", dir, err)
}
