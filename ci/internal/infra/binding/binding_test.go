package binding_test

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/infra/binding"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func example() binding.Binding {
	return binding.Binding{
		CreatedAt: time.Date(2026, 5, 1, 12, 0, 0, 999, time.FixedZone("x", 3600)),
		Commit:    "c", Root: "terraform", Files: map[string]string{"a.tf": "sha256:1"}, Variables: map[string]string{"TF_VAR_x": "hmac-sha256:2"},
		State: binding.State{Lineage: "l", Serial: 18446744073709551615}, Workspace: "default", TerraformVersion: "1.11.4",
		Backend: binding.Backend{Type: "s3", Config: map[string]any{"bucket": "b", "encrypt": true}}, PlanSHA256: "sha256:3",
	}.Sealed()
}

func TestWriteAndRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), binding.File)
	require.NoError(t, example().Write(name))
	got, err := binding.Read(name)
	require.NoError(t, err)
	require.Equal(t, example(), got)
	require.Equal(t, "s3 bucket=b encrypt=true", got.Backend.String())
	require.Empty(t, got.Compare(example()))
	require.NoError(t, binding.MismatchError(nil))
	require.ErrorContains(t, example().Write(filepath.Join(name, "x")), "writing the plan's binding")
}

func TestReadRefusesChanges(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, binding.File)
	require.NoError(t, example().Write(name))
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	for i := range data {
		if strings.ContainsRune(" \n", rune(data[i])) {
			continue // white space has no meaning
		}
		changed := bytes.Clone(data)
		changed[i]++
		require.NoError(t, os.WriteFile(name, changed, 0o644))
		_, err := binding.Read(name)
		require.Equal(t, outcome.Refused, outcome.Of(err), "byte %d of %s: %v", i, data, err)
	}
	require.NoError(t, os.WriteFile(name, append(data, "{}"...), 0o644))
	_, err = binding.Read(name)
	require.ErrorContains(t, err, "data after the document")
	_, err = binding.Read(dir)
	require.ErrorContains(t, err, "reading the plan's binding")
	_, err = binding.Read(filepath.Join(dir, "nope"))
	require.Equal(t, outcome.Usage, outcome.Of(err))
}

func TestCompare(t *testing.T) {
	tests := map[string]struct {
		change func(*binding.Binding)
		want   string
	}{
		"environment":    {func(b *binding.Binding) { b.Environment = "staging" }, "environment: bound none, now staging"},
		"commit":         {func(b *binding.Binding) { b.Commit = "d" }, "commit: bound c, now d"},
		"dirty":          {func(b *binding.Binding) { b.Dirty = true }, ""},
		"root":           {func(b *binding.Binding) { b.Root = "x" }, "folder: bound terraform, now x"},
		"a file":         {func(b *binding.Binding) { b.Files = map[string]string{"a.tf": "sha256:9"} }, "configuration (a.tf): bound sha256:1, now sha256:9"},
		"a file is gone": {func(b *binding.Binding) { b.Files = nil }, "configuration (a.tf): bound sha256:1, now none"},
		"a variable": {func(b *binding.Binding) {
			b.Variables = map[string]string{"TF_VAR_y": "hmac-sha256:" + strings.Repeat("0", 64)}
		}, "variables (TF_VAR_x): bound hmac-sha256:2, now none; variables (TF_VAR_y): bound none, now 000000000000"},
		"lineage":         {func(b *binding.Binding) { b.State.Lineage = "m" }, "state lineage: bound l, now m (the state has changed"},
		"serial":          {func(b *binding.Binding) { b.State.Serial = 4 }, "state serial: bound 18446744073709551615, now 4 (the state has changed"},
		"workspace":       {func(b *binding.Binding) { b.Workspace = "w" }, "workspace: bound default, now w"},
		"backend":         {func(b *binding.Binding) { b.Backend = binding.Backend{Type: "local"} }, "backend: bound s3 bucket=b encrypt=true, now local"},
		"terraform":       {func(b *binding.Binding) { b.TerraformVersion = "2" }, "Terraform: bound 1.11.4, now 2"},
		"plan":            {func(b *binding.Binding) { b.PlanSHA256 = "" }, "plan file: bound sha256:3, now none"},
		"provider lock":   {func(b *binding.Binding) { b.ProviderLockHash = "sha256:" + strings.Repeat("ab", 32) }, "provider lock file: bound none, now abababababab"},
		"unknown account": {func(b *binding.Binding) { b.Account, b.Region = "1", "r" }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			now := example()
			tt.change(&now)
			err := binding.MismatchError(example().Compare(now))
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, outcome.Refused, outcome.Of(err))
		})
	}
}

func planFile(t *testing.T, entries map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	archive := zip.NewWriter(&b)
	for name, content := range entries {
		w, err := archive.Create(name)
		require.NoError(t, err)
		_, err = w.Write([]byte(content))
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())
	name := filepath.Join(t.TempDir(), "tfplan")
	require.NoError(t, os.WriteFile(name, b.Bytes(), 0o600))
	return name
}

func TestReadPlanFile(t *testing.T) {
	name := planFile(t, map[string]string{"tfstate": `{"lineage":"l","serial":4}`})
	p, err := binding.ReadPlanFile(name)
	require.NoError(t, err)
	require.Equal(t, binding.State{Lineage: "l", Serial: 4}, p.State)
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, binding.Hash(data), p.SHA256)

	refused := map[string]string{
		"no state":       planFile(t, map[string]string{"x": ""}),
		"damaged state":  planFile(t, map[string]string{"tfstate": "{"}),
		"not an archive": filepath.Join(t.TempDir(), "tfplan"),
	}
	require.NoError(t, os.WriteFile(refused["not an archive"], []byte("PK"), 0o600))
	for what, name := range refused {
		_, err := binding.ReadPlanFile(name)
		require.Equal(t, outcome.Refused, outcome.Of(err), what)
	}
	_, err = binding.ReadPlanFile(filepath.Join(t.TempDir(), "nope"))
	require.Equal(t, outcome.Usage, outcome.Of(err))
	_, err = binding.ReadPlanFile(t.TempDir())
	require.Equal(t, outcome.Failed, outcome.Of(err))
}

func TestFingerprint(t *testing.T) {
	one, err := binding.ReadPlanFile(planFile(t, map[string]string{"tfstate": `{"serial":1}`}))
	require.NoError(t, err)
	two, err := binding.ReadPlanFile(planFile(t, map[string]string{"tfstate": `{"serial":2}`}))
	require.NoError(t, err)
	again := one.Fingerprint([]byte("x"))
	require.Equal(t, again, one.Fingerprint([]byte("x")))
	require.NotEqual(t, one.Fingerprint([]byte("x")), one.Fingerprint([]byte("y")))
	require.NotEqual(t, one.Fingerprint([]byte("x")), two.Fingerprint([]byte("x")))
	require.NotContains(t, one.Fingerprint([]byte("x")), strings.TrimPrefix(binding.Hash([]byte("x")), "sha256:"))
}

func TestReadState(t *testing.T) {
	s, err := binding.ReadState(strings.NewReader(""))
	require.NoError(t, err)
	require.Equal(t, binding.State{}, s)
	_, err = binding.ReadState(strings.NewReader("no"))
	require.ErrorContains(t, err, "reading the state")
}

// FuzzReadPlanFile reads any content: nothing panics.
func FuzzReadPlanFile(f *testing.F) {
	f.Add([]byte("PK\x03\x04"))
	f.Add([]byte{})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(dir, "tfplan")
		require.NoError(t, os.WriteFile(name, data, 0o600))
		p, err := binding.ReadPlanFile(name)
		require.True(t, err != nil || p.SHA256 == binding.Hash(data))
	})
}
