package supplychain_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain/supplychaintest"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// trivyReport has one finding of each severity and an accepted one.
const trivyReport = `{"SchemaVersion": 2, "ArtifactName": "x", "ArtifactType": "container_image", "Results": [
  {"Target": "server", "Class": "lang-pkgs", "Type": "gobinary", "Vulnerabilities": [
    {"VulnerabilityID": "CVE-2026-1", "VendorIDs": ["GO-2026-1"], "PkgName": "stdlib", "InstalledVersion": "v1.26.0", "FixedVersion": "1.26.1", "Severity": "CRITICAL",
     "Title": "Reads | too\nmuch", "PrimaryURL": "https://avd.aquasec.com/nvd/cve-2026-1"},
    {"VulnerabilityID": "CVE-2026-2", "PkgName": "stdlib", "InstalledVersion": "v1.26.0", "Severity": "HIGH"},
    {"VulnerabilityID": "CVE-2026-3", "PkgName": "stdlib", "InstalledVersion": "v1.26.0", "Severity": "MEDIUM"},
    {"VulnerabilityID": "CVE-2026-4", "PkgName": "stdlib", "InstalledVersion": "v1.26.0", "Severity": "LOW"},
    {"VulnerabilityID": "CVE-2026-5", "PkgName": "stdlib", "InstalledVersion": "v1.26.0", "Severity": "UNKNOWN"}],
   "ExperimentalModifiedFindings": [
    {"Type": "vulnerability", "Status": "ignored", "Statement": "never called", "Source": ".trivyignore.yaml",
     "Finding": {"VulnerabilityID": "CVE-2026-6", "PkgName": "musl", "InstalledVersion": "1", "Severity": "CRITICAL"}},
    {"Type": "misconfiguration", "Finding": {}}]}]}`

func TestScan(t *testing.T) {
	tools := supplychaintest.Install(t)
	tools.SetTrivyReport(trivyReport)
	subject := publish(t, embedded(t))
	scans := regexp.MustCompile(`^trivy image --input=[^ ]*/image@sha256:[0-9a-f]{64} .* --config=/dev/null --ignorefile=[^ ]*/.trivyignore.yaml --show-suppressed$`)
	for threshold, failing := range map[supplychain.Severity]int{
		supplychain.Critical: 1, supplychain.High: 3, supplychain.Medium: 4, supplychain.Low: 5, supplychain.ThresholdNone: 0,
	} {
		found, err := supplychain.Scanner{Tools: host(t), FailOn: threshold}.Scan(t.Context(), supplychain.Subject{Service: "backend", Index: subject.Index})
		require.NoError(t, err)
		for _, line := range tools.Commands()[1:] {
			require.Regexp(t, scans, line, "one platform after the other, and nothing is accepted by what lies in the tree")
		}
		require.Len(t, found.Findings, 6, "those of both platforms are the same")
		require.Equal(t, []string{"linux/amd64", "linux/arm64"}, found.Findings[0].Platforms)
		require.Equal(t, map[bool]string{true: "failed", false: "succeeded"}[failing > 0], found.Result, threshold)
		if failing == 0 {
			require.NoError(t, found.Err())
			continue
		}
		require.Equal(t, outcome.Failed, outcome.Of(found.Err()))
		require.ErrorContains(t, found.Err(), "the first CVE-2026-1 in stdlib of backend: update it, or accept it temporarily in .trivyignore.yaml")
		var text, markdown, document bytes.Buffer
		require.NoError(t, found.Text(&text))
		require.Contains(t, text.String(), "FAIL  critical      CVE-2026-1       stdlib v1.26.0 in backend, fixed in 1.26.1\n        Reads | too much\n")
		require.Contains(t, text.String(), "ok    critical      CVE-2026-6       musl 1 in backend, accepted: never called")
		require.NoError(t, found.Markdown(&markdown))
		require.Contains(t, markdown.String(), "| FAIL | critical | [CVE-2026-1](https://avd.aquasec.com/nvd/cve-2026-1) | `stdlib` v1.26.0, fixed in 1.26.1 | backend | Reads &#124; too much |")
		require.NoError(t, found.JSON(&document))
		require.True(t, json.Valid(document.Bytes()))
	}
}

// TestRecorded reads a report of Trivy 0.74 about a Go program with two
// vulnerabilities, one of them accepted.
func TestRecorded(t *testing.T) {
	tools := supplychaintest.Install(t)
	recorded, err := os.ReadFile("testdata/trivy.json")
	require.NoError(t, err)
	tools.SetTrivyReport(string(recorded))
	found, err := supplychain.Scanner{Tools: host(t), FailOn: supplychain.High}.Scan(t.Context(), supplychain.Subject{Service: "backend", Index: publish(t, embedded(t)).Index})
	require.NoError(t, err)
	both := []string{"linux/amd64", "linux/arm64"}
	require.Equal(t, []supplychain.Finding{
		{ID: "CVE-2026-0001", Severity: supplychain.Critical, Package: "stdlib", Version: "v1.26.8", Fixed: "1.99.0", Title: "serves too much", URL: "https://avd.aquasec.com/nvd/cve-2026-0001", Source: "trivy", Service: "backend", Aliases: []string{}, Platforms: both, Exception: "never called"},
		{ID: "CVE-2026-0002", Aliases: []string{"GHSA-x"}, Severity: supplychain.High, Package: "stdlib", Version: "v1.26.8", Fixed: "1.99.0", Title: "reads too much", URL: "https://avd.aquasec.com/nvd/cve-2026-0002", Source: "trivy", Service: "backend", Platforms: both},
	}, found.Findings)
}

func TestScanFails(t *testing.T) {
	tools := supplychaintest.Install(t)
	subject := supplychain.Subject{Service: "backend", Index: publish(t, embedded(t)).Index}
	scanner := supplychain.Scanner{Tools: host(t), FailOn: supplychain.High}
	_, err := scanner.Scan(t.Context(), subject)
	require.ErrorContains(t, err, "scanning backend: trivy image ended with exit code 1: FATAL failed to download vulnerability DB", "no database is no pass")
	for _, broken := range []string{"", "{", `{"Results": null}`} {
		tools.SetTrivyReport(broken)
		_, err = scanner.Scan(t.Context(), subject)
		require.ErrorContains(t, err, "reading Trivy's report", broken)
	}
	t.Setenv("PATH", t.TempDir())
	_, err = scanner.Scan(t.Context(), subject)
	require.Equal(t, outcome.Usage, outcome.Of(err))
	require.ErrorContains(t, err, "trivy is not on PATH: install it")
}

// TestExceptions: exceptions apply to ECR's findings as well.
func TestExceptions(t *testing.T) {
	tools := supplychaintest.Install(t)
	tools.SetTrivyReport(`{"SchemaVersion": 2}`)
	subject := supplychain.Subject{Service: "backend", Repository: "app", Index: publish(t, embedded(t)).Index}
	dir := t.TempDir()
	found, err := supplychain.FindExceptions(dir)
	require.NoError(t, err)
	require.Empty(t, found)
	scan := func(exceptions string) (supplychain.Report, error) {
		sourcetest.Write(t, dir, ".trivyignore.yaml", exceptions)
		file, err := supplychain.FindExceptions(dir)
		require.NoError(t, err)
		accepted, err := supplychain.ReadExceptions(file)
		if err != nil {
			return supplychain.Report{}, err
		}
		return supplychain.Scanner{
			Tools: host(t), FailOn: supplychain.High, Exceptions: accepted, ECR: &supplychain.ECR{API: &fakeECR{pages: []response{complete("HIGH", "")}}},
		}.Scan(t.Context(), subject)
	}
	tools.Commands()
	report, err := scan("vulnerabilities:\n  - {id: CVE-2026-HIGH, statement: never called, expired_at: 2999-12-31}\n")
	require.NoError(t, err)
	require.NoError(t, report.Err())
	require.Equal(t, "never called", report.Findings[0].Exception)
	require.Contains(t, tools.Commands()[1], "/.trivyignore.yaml --show-suppressed")
	for why, limits := range map[string]string{
		"for a while, and no longer": "expired_at: 2020-12-31", "in another place": "expired_at: 2999-12-31, paths: [usr/bin/other]",
		"in another package": `expired_at: 2999-12-31, purls: ["pkg:apk/other"]`,
	} {
		report, err = scan("vulnerabilities:\n  - {id: CVE-2026-HIGH, statement: never called, " + limits + "}\n")
		require.NoError(t, err)
		require.Error(t, report.Err(), why)
	}

	for bad, want := range map[string]string{
		"vulnerabilities: [":                                        "it must have a list of vulnerabilities",
		"vulnerabilities: [{id: X, expired_at: never}]":             "it must have a list of vulnerabilities",
		"vulnerabilities: [{id: X, statement: s}]":                  "vulnerability 1 (X) must have id, statement and expired_at",
		"vulnerabilities: [{id: X, expired_at: 2999-12-31}]":        "vulnerability 1 (X) must have id, statement and expired_at",
		"vulnerabilities: [{statement: s, expired_at: 2999-12-31}]": "vulnerability 1 () must have id, statement and expired_at",
	} {
		_, err := scan(bad)
		require.Equal(t, outcome.Usage, outcome.Of(err), bad)
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, os.Remove(filepath.Join(dir, ".trivyignore.yaml")))
	sourcetest.Write(t, dir, "ci/vulnerabilities.json", "{}")
	_, err = supplychain.FindExceptions(dir)
	require.Equal(t, outcome.Usage, outcome.Of(err))
	require.ErrorContains(t, err, "ci/vulnerabilities.json is no longer read")
}

func TestThreshold(t *testing.T) {
	for _, bad := range []string{"", "severe", "unknown", "HIGH"} {
		_, err := supplychain.ParseThreshold(bad)
		require.ErrorContains(t, err, "want critical, high, medium, low or none")
		require.Equal(t, outcome.Usage, outcome.Of(err))
	}
}
