package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFileAtomic gives a file its content at once: whoever reads it, also after this
// process was killed, finds what was there before or all of it. Where name is a
// symbolic link, the link is replaced.
func WriteFileAtomic(name string, content []byte, mode fs.FileMode) error {
	partial, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	_, err = partial.Write(content)
	err = errors.Join(err, partial.Chmod(mode), partial.Close())
	if err == nil {
		err = os.Rename(partial.Name(), name)
	}
	if err != nil {
		_ = os.Remove(partial.Name())
	}
	return err
}
