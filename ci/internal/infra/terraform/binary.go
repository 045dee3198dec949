package terraform

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// program is the name of Terraform's executable.
const program = "terraform"

// Program returns Terraform's executable on this machine: the original one next to
// the wrapper of hashicorp/setup-terraform, or that on PATH.
func Program() string {
	found, err := exec.LookPath(program)
	if err != nil {
		return program
	}
	behind := filepath.Join(filepath.Dir(found), program+"-bin"+filepath.Ext(found))
	if info, err := os.Stat(behind); err == nil && info.Mode().IsRegular() {
		return behind
	}
	return program
}

// WrapperHint is the message for output of the wrapper of
// hashicorp/setup-terraform, which also copies all output, secrets included, to the
// job's outputs.
const WrapperHint = "terraform on PATH is the wrapper of hashicorp/setup-terraform, which adds lines of its own to what Terraform prints: give that step terraform_wrapper: false"

// wrapper matches the lines that the wrapper adds.
var wrapper = regexp.MustCompile(`(?m)^(?:\[command\]\S|::(?:debug|error)::Terraform exited with code )`)

// IsWrapperOutput reports whether an output is from the wrapper.
func IsWrapperOutput(output []byte) bool { return wrapper.Match(output) }

// JSONDocument returns the JSON document in an output, without the lines that
// version managers print before it. An output without JSON is returned unchanged.
func JSONDocument(output []byte) []byte {
	if json.Valid(output) {
		return output
	}
	for rest := output; len(rest) > 0; {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		if bytes.HasPrefix(line, []byte("{")) {
			decoder := json.NewDecoder(bytes.NewReader(rest))
			var document json.RawMessage
			if decoder.Decode(&document) == nil {
				return document
			}
		}
		rest = after
	}
	return output
}
