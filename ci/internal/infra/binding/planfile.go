package binding

import (
	"archive/zip"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// PlanFile is the part of a saved plan that can be read without Terraform: a ZIP
// archive with the prior state.
type PlanFile struct {
	SHA256 string
	// State is the state before the plan was made.
	State State
	key   []byte
}

// maxStateSize is the maximum size of a state in bytes.
const maxStateSize = 1 << 30

// ReadPlanFile reads a saved plan. A missing file is a usage error, an invalid one
// is refused.
func ReadPlanFile(name string) (PlanFile, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return PlanFile{}, outcome.Usagef("no plan file %s: %s must be a complete plan directory", name, filepath.Dir(name))
	}
	if err != nil {
		return PlanFile{}, fmt.Errorf("reading the plan file: %w", err)
	}
	p := PlanFile{SHA256: Hash(data), key: planKey(data)}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return p, outcome.Refusedf("%s is not a plan file (%w): plan again", name, err)
	}
	// Terraform also compares "tfstate" before it applies anything; "tfstate-prev"
	// has neither lineage nor serial.
	file, err := archive.Open("tfstate")
	if err != nil {
		return p, outcome.Refusedf("%s is not a plan file that this version of slipway can read (%w): plan again", name, err)
	}
	defer file.Close()
	if p.State, err = ReadState(io.LimitReader(file, maxStateSize)); err != nil {
		return p, outcome.Refusedf("%s is damaged (%w): plan again", name, err)
	}
	return p, nil
}

// ReadState reads the version of a state. An empty file is a state that does not
// exist yet.
func ReadState(r io.Reader) (State, error) {
	var s State
	err := json.NewDecoder(r).Decode(&s)
	if errors.Is(err, io.EOF) {
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("reading the state: %w", err)
	}
	return s, nil
}

// planKey derives a secret from the plan file. It differs from the file's published
// hash.
func planKey(data []byte) []byte {
	mac := hmac.New(sha256.New, []byte("slipway: fingerprints of variables"))
	mac.Write(data)
	return mac.Sum(nil)
}

// Fingerprint returns a keyed hash of a value, so that values can be compared
// without revealing them: guessing a short one takes the plan file, which contains
// it in clear text.
func (p PlanFile) Fingerprint(value []byte) string {
	mac := hmac.New(sha256.New, p.key)
	mac.Write(value)
	return "hmac-sha256:" + hex.EncodeToString(mac.Sum(nil))
}
