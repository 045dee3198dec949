package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFileAtomic writes a file so that readers find either its old or its new content,
// even if the process is killed. If name is a symbolic link, it replaces the link.
func WriteFileAtomic(name string, content []byte, mode fs.FileMode) error {
	return writeFile(name, content, mode, os.Rename)
}

// CreateFileAtomic is like [WriteFileAtomic] for a new file: if name exists, nothing changes
// and the error is [fs.ErrExist].
func CreateFileAtomic(name string, content []byte, mode fs.FileMode) error {
	return writeFile(name, content, mode, os.Link)
}

// writeFile writes a temporary file and calls publish to give it its name.
func writeFile(name string, content []byte, mode fs.FileMode, publish func(temporary, name string) error) error {
	partial, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(partial.Name()) // unless it was renamed
	_, err = partial.Write(content)
	if err := errors.Join(err, partial.Chmod(mode), partial.Close()); err != nil {
		return err
	}
	return publish(partial.Name(), name)
}
