// Package binding binds a saved plan to its inputs: the commit, the configuration,
// the providers, the variables, the state, the account. A plan is applied only
// while they are unchanged.
package binding

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// File is the binding's name in a plan directory.
const File = "binding.json"

// Format is the version of the file's format.
const Format = 1

// Binding has the inputs of a saved plan. It contains no secrets.
type Binding struct {
	Format    int       `json:"format"`
	CreatedAt time.Time `json:"created_at"`
	// Commit is the full ID of the tree's commit. Dirty means that the
	// configuration, or a local module or file that it reads, differed from the
	// commit; Files has the differing hashes.
	Commit string `json:"commit"`
	Dirty  bool   `json:"dirty"`
	// Environment is the name of the environment, if the tree has several.
	Environment string `json:"environment,omitempty"`
	// Root is the root module's folder in the source tree.
	Root string `json:"root"`
	// ConfigurationHash is the hash of Files: the SHA-256 of every file that
	// determines what Terraform plans, by path in the source tree.
	ConfigurationHash string            `json:"configuration_hash"`
	Files             map[string]string `json:"files"`
	// Modules are the folders of local modules outside of Root. Outside are those
	// modules and other files that are not in the repository: they are in Files,
	// but in no commit.
	Modules []string `json:"modules,omitempty"`
	Outside []string `json:"outside,omitempty"`
	// ProviderLockHash is the hash of the dependency lock file; "" without one.
	ProviderLockHash string `json:"provider_lock_hash"`
	// VariablesHash is the hash of Variables: the fingerprint of each value or file
	// that sets variables, by source.
	VariablesHash    string            `json:"variables_hash"`
	Variables        map[string]string `json:"variables"`
	State            State             `json:"state"`
	Backend          Backend           `json:"backend"`
	Workspace        string            `json:"workspace"`
	TerraformVersion string            `json:"terraform_version"`
	// Account and Region are AWS's; "" if unknown.
	Account string `json:"account,omitempty"`
	Region  string `json:"region,omitempty"`
	// RefreshOnly means that the plan only updates the state.
	RefreshOnly bool `json:"refresh_only"`
	// Partial lists what omits a part of the configuration from the plan.
	Partial []string `json:"partial,omitempty"`
	// PlanSHA256 is the hash of tfplan.
	PlanSHA256 string `json:"plan_sha256"`
	// Digest is the hash of everything above. Pass it to apply separately from the
	// plan directory to verify that the directory is the reviewed one.
	Digest string `json:"digest"`
}

// State is a version of a state. A state that does not exist yet has neither
// lineage nor serial.
type State struct {
	Lineage string `json:"lineage"`
	Serial  uint64 `json:"serial"`
}

// Backend is the backend's configuration, without credentials.
type Backend struct {
	Type   string         `json:"type"`
	Config map[string]any `json:"config,omitempty"`
}

// Sealed returns b with its hashes and digest.
func (b Binding) Sealed() Binding {
	b.Format = Format
	b.CreatedAt = b.CreatedAt.UTC().Truncate(time.Second)
	b.ConfigurationHash, b.VariablesHash = hashOf(b.Files), hashOf(b.Variables)
	b.Digest = b.digest()
	return b
}

func (b Binding) digest() string {
	b.Digest = ""
	return hashOf(b)
}

// Write writes b to a plan directory.
func (b Binding) Write(name string) error {
	data, err := json.MarshalIndent(b, "", "  ")
	if err == nil {
		err = os.WriteFile(name, append(data, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing the plan's binding: %w", err)
	}
	return nil
}

// Read reads a binding and verifies its digest. A modified one is refused; a
// missing one is a usage error.
func Read(name string) (Binding, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return Binding{}, outcome.Usagef("no %s: choose a plan directory with --plan, or run slipway plan", name)
	}
	if err != nil {
		return Binding{}, fmt.Errorf("reading the plan's binding: %w", err)
	}
	var b Binding
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	decoder.UseNumber()
	if err := decoder.Decode(&b); err != nil {
		return Binding{}, outcome.Refusedf("%s is not a valid binding (%w): plan again", name, err)
	}
	switch _, err := decoder.Token(); {
	case !errors.Is(err, io.EOF):
		return Binding{}, outcome.Refusedf("%s is not a valid binding (data after the document): plan again", name)
	case b.Format != Format:
		return Binding{}, outcome.Refusedf("%s has format %d, and this version of slipway reads %d: plan again", name, b.Format, Format)
	case b.Digest != b.digest(), b.ConfigurationHash != hashOf(b.Files), b.VariablesHash != hashOf(b.Variables):
		return Binding{}, outcome.Refusedf("%s was changed after the plan was made (its digest does not match): plan again", name)
	}
	return b, nil
}

// hashOf returns the SHA-256 of a value's JSON, whose keys are sorted.
func hashOf(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		panic("binding: " + err.Error()) // plain data of this package
	}
	return Hash(data)
}

// Hash returns the SHA-256 of data in the format of a binding.
func Hash(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
