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

	"dagger/slipway/internal/report/outcome"
)

// PlanFile is a saved plan as far as it can be read without Terraform: a ZIP
// archive with the state that it was made from.
type PlanFile struct {
	SHA256 string
	// State is the state as it was before the plan was made.
	State State
	key   []byte
}

// maxStateSize is how much of a state is read, in bytes.
const maxStateSize = 1 << 30

// ReadPlanFile reads a saved plan. One that is not there is a usage error, one
// that is no plan is refused.
func ReadPlanFile(name string) (PlanFile, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return PlanFile{}, outcome.Usagef("no plan file %s: %s must be a directory that slipway plan wrote, whole", name, filepath.Dir(name))
	}
	if err != nil {
		return PlanFile{}, fmt.Errorf("reading the plan file: %w", err)
	}
	p := PlanFile{SHA256: Hash(data), key: planKey(data)}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return p, outcome.Refusedf("%s is not a plan file (%w): plan again", name, err)
	}
	// Terraform compares this one, too, before it applies anything;
	// "tfstate-prev" has neither lineage nor serial.
	file, err := archive.Open("tfstate")
	if err != nil {
		return p, outcome.Refusedf("%s is not a plan file that this slipway can read (%w): plan again", name, err)
	}
	defer file.Close()
	if p.State, err = ReadState(io.LimitReader(file, maxStateSize)); err != nil {
		return p, outcome.Refusedf("%s is damaged (%w): plan again", name, err)
	}
	return p, nil
}

// ReadState reads which version a state is. Nothing at all is a state that
// does not exist yet.
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

// planKey is a secret that whoever has the plan file can make, and nobody
// else. It differs from the file's published hash.
func planKey(data []byte) []byte {
	mac := hmac.New(sha256.New, []byte("slipway: fingerprints of variables"))
	mac.Write(data)
	return mac.Sum(nil)
}

// Fingerprint tells values apart without telling them: guessing what a short
// one is takes the plan file, in which it stands in clear.
func (p PlanFile) Fingerprint(value []byte) string {
	mac := hmac.New(sha256.New, p.key)
	mac.Write(value)
	return "hmac-sha256:" + hex.EncodeToString(mac.Sum(nil))
}
