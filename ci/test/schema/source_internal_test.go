package schema

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/schematest"
)

func TestSourceUnreadable(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "internal", "report")
	require.NoError(t, os.MkdirAll(folder, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "a.go"), []byte("package report\nfunc {"), 0o644))
	_, err := newSource(dir).comment(reflect.TypeFor[report.Release](), "")
	require.ErrorContains(t, err, "reading the source of github.com/slipway-cd/slipway/ci/internal/report")
	_, err = document(schematest.Document{Name: "x", Type: reflect.TypeFor[report.Release]()}, newSource(dir))
	require.Error(t, err)
}

func TestForeignTypes(t *testing.T) {
	s := newSource("nowhere")
	text, err := s.comment(reflect.TypeFor[reflect.Value](), "")
	require.NoError(t, err)
	require.Empty(t, text)
	constants, err := s.constants(reflect.TypeFor[reflect.Kind]())
	require.NoError(t, err)
	require.Empty(t, constants)
}

func TestTwoTypesOfOneName(t *testing.T) {
	m := maker{names: map[string]reflect.Type{}}
	require.Equal(t, "Release", m.name(reflect.TypeFor[report.Release]()))
	type Release struct{}
	m.name(reflect.TypeFor[Release]())
	require.ErrorContains(t, m.err, "are called Release: rename one")
}
