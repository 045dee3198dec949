package infra_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/infra"
	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// httpState is an HTTP backend in memory that rejects writes while it is full.
type httpState struct {
	state atomic.Pointer[[]byte]
	full  atomic.Bool
}

func (h *httpState) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch state := h.state.Load(); {
	case r.Method == http.MethodPost && h.full.Load():
		http.Error(w, "no room", http.StatusInsufficientStorage)
	case r.Method == http.MethodPost:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		h.state.Store(&body)
	case state == nil:
		http.NotFound(w, r)
	default:
		_, _ = w.Write(*state)
	}
}

// TestErroredStateIsSaved: otherwise the changes would be lost.
func TestErroredStateIsSaved(t *testing.T) {
	backend := &httpState{}
	server := httptest.NewServer(backend)
	defer server.Close()
	tr := newTree(t, map[string]string{"main.tf": "terraform {\n  backend \"http\" {\n    retry_max = 0\n  }\n}\n\nresource \"terraform_data\" \"a\" {}\n"})
	tr.Backend = terraform.Backend{Config: []string{"address=" + server.URL}}
	tr.mustPlan(t)
	backend.full.Store(true)

	applied, err := tr.apply(t)
	require.ErrorContains(t, err, "1 applied, 0 failed, 0 not reached: terraform apply: Failed to save state")
	require.Equal(t, outcome.Failed, outcome.Of(err))
	require.Equal(t, infra.Failed, applied.Result)
	lost := filepath.Join(tr.out, infra.ErroredState)
	require.Equal(t, "the state could not be written to the backend and is in "+lost+", secrets included: when the backend is available again, run terraform state push "+lost+
		" in "+filepath.Join(tr.dir, "terraform")+" (after terraform init), delete the file, and plan again", applied.Next)
	info, err := os.Stat(lost)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "it has secrets in it")
	require.NoFileExists(t, filepath.Join(tr.dir, "terraform", infra.ErroredState), "it is no part of the tree")

	// Until the state is pushed, the backend's state is out of date: another plan
	// would create everything again.
	backend.full.Store(false)
	_, err = tr.plan(t)
	require.EqualError(t, err, lost+" is the state of an apply that could not be written to the backend: run terraform state push with it, then delete it")
	require.Equal(t, outcome.Refused, outcome.Of(err))
	_, err = tr.apply(t)
	require.Equal(t, outcome.Refused, outcome.Of(err))
	require.ErrorContains(t, err, "run terraform state push")

	state, err := os.ReadFile(lost)
	require.NoError(t, err)
	require.Contains(t, string(state), `"name": "a"`)
	backend.state.Store(&state) // as the push does
	require.NoError(t, os.Remove(lost))
	require.False(t, tr.mustPlan(t).Summary.Changes())
}

// TestErroredStateInTree: a manual terraform apply leaves it in the tree.
func TestErroredStateInTree(t *testing.T) {
	tr := newTree(t, map[string]string{"main.tf": "terraform {\n  backend \"local\" {}\n}\n"})
	require.NoError(t, os.WriteFile(filepath.Join(tr.dir, "terraform", infra.ErroredState), []byte("{}"), 0o644))
	_, err := tr.plan(t)
	require.Equal(t, outcome.Refused, outcome.Of(err))
	require.ErrorContains(t, err, filepath.Join("terraform", infra.ErroredState)+" is the state of an apply that could not be written to the backend")
}
