package terraform

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// program is what Terraform is called.
const program = "terraform"

// Program is the Terraform of this machine: the one that hashicorp/setup-terraform puts
// beside its wrapper, if there is one, and otherwise whatever is on PATH.
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

// WrapperHint is what to do about the wrapper of hashicorp/setup-terraform. It also hands
// all that Terraform prints, secrets included, to the job's outputs.
const WrapperHint = "terraform on PATH is the wrapper of hashicorp/setup-terraform, which adds lines of its own to what Terraform prints: give that step terraform_wrapper: false"

// wrapper finds what the wrapper adds to an output.
var wrapper = regexp.MustCompile(`(?m)^(?:\[command\]\S|::(?:debug|error)::Terraform exited with code )`)

// IsWrapperOutput tells whether an output is from the wrapper.
func IsWrapperOutput(output []byte) bool { return wrapper.Match(output) }

// JSONDocument is the JSON document in an output: programs that choose a version of
// Terraform print lines of their own before it. An output that has none is what it is.
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
