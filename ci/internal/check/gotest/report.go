package gotest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
)

// document is a file of the report directory.
type document struct {
	name  string
	write func(w io.Writer) error
}

// documents lists the files of the report directory.
func documents(s Summary, verdicts []verdict) []document {
	return []document{
		{"coverage.out", s.covered.WriteProfile},
		{"coverage.html", func(w io.Writer) error { return s.covered.WriteHTML(w, s.gate) }},
		{"cobertura.xml", func(w io.Writer) error { return s.covered.WriteCobertura(w, time.Now()) }},
		{"junit.xml", func(w io.Writer) error { return writeJUnit(w, verdicts) }},
		{"summary.md", s.Markdown},
	}
}

// prepareReport creates dir and checks that it is writable before the tests run. It removes
// an earlier report, which could be mistaken for this run's if this run is interrupted.
func prepareReportDir(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		var probe *os.File
		if probe, err = os.CreateTemp(dir, ".probe-*"); err == nil {
			_ = probe.Close()
			err = os.Remove(probe.Name())
		}
	}
	for _, d := range documents(Summary{}, nil) {
		if err == nil {
			if err = os.Remove(filepath.Join(dir, d.name)); os.IsNotExist(err) {
				err = nil
			}
		}
	}
	return reportError(dir, err)
}

// writeReport writes all documents, or none if rendering one of them fails.
func writeReport(dir string, docs []document) error {
	contents := make([]bytes.Buffer, len(docs))
	for i, d := range docs {
		if err := d.write(&contents[i]); err != nil {
			return reportError(dir, err)
		}
	}
	for i, d := range docs {
		if err := source.WriteFileAtomic(filepath.Join(dir, d.name), contents[i].Bytes(), 0o644); err != nil {
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
