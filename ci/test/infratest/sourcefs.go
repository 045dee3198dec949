package infratest

import (
	"io/fs"
	"slices"
	"strings"
)

// sourceFS is a configuration without Terraform's own files: providers, state, plans.
type sourceFS struct{ fs.FS }

func (v sourceFS) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(v.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return e.Name() == ".terraform" || strings.Contains(e.Name(), ".tfstate") || strings.HasSuffix(e.Name(), "tfplan")
	}), err
}
