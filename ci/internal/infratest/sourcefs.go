package infratest

import (
	"io/fs"
	"slices"
	"strings"
)

// visible is a configuration without what Terraform leaves beside it: providers,
// state, plans.
type sourceFS struct{ fs.FS }

func (v sourceFS) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(v.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return e.Name() == ".terraform" || strings.Contains(e.Name(), ".tfstate") || strings.HasSuffix(e.Name(), "tfplan")
	}), err
}
