package inspect

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"runtime/debug"
)

// File is one entry of a layer or of a file system.
type File struct {
	// Path begins with a slash.
	Path string `json:"path"`
	// Mode is as ls prints it, the kind of file first.
	Mode string `json:"mode"`
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
	// Size is in bytes, and zero for all but regular files.
	Size int64 `json:"size"`
	// Digest is the SHA-256 of a regular file's content.
	Digest string `json:"digest,omitempty"`
	// Link is what a link leads to.
	Link string `json:"link,omitempty"`
	// Modified is in seconds since 1970.
	Modified int64 `json:"modified"`
}

// Program is an executable that Go built.
type Program struct {
	Path    string   `json:"path"`
	Go      string   `json:"go"`
	Main    string   `json:"main"`
	Modules []Module `json:"modules"`
	// Settings are those of the build, such as GOARCH.
	Settings map[string]string `json:"settings"`
}

// Module is one Go module of a program.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
}

// programLimit is the size in bytes of the largest file that is looked into as
// a program.
const programLimit = 1 << 30

// elf is how programs for Linux begin.
const elf = "\x7fELF"

// readFiles reads a tar stream to its end.
func readFiles(ctx context.Context, stream io.Reader) ([]File, []Program, error) {
	var files []File
	var programs []Program
	archive := tar.NewReader(stream)
	for {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			// Behind the archive's end stands whether the layers below it were
			// read to theirs, and had the digests that they should have.
			_, err := io.Copy(io.Discard, stream)
			return files, programs, err
		}
		if err != nil {
			return nil, nil, err
		}
		file := File{
			Path: path.Join("/", header.Name), //nolint:gosec // it is shown, and nothing is written there
			Mode: header.FileInfo().Mode().String(),
			UID:  header.Uid, GID: header.Gid, Link: header.Linkname, Modified: header.ModTime.Unix(),
		}
		if header.Typeflag == tar.TypeReg {
			file.Size = header.Size
			program, sum, err := readContent(archive, header)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", file.Path, err)
			}
			file.Digest = "sha256:" + hex.EncodeToString(sum)
			if program != nil {
				program.Path = file.Path
				programs = append(programs, *program)
			}
		}
		files = append(files, file)
	}
}

// readContent hashes a file's content, and looks into it where it is a program.
func readContent(content io.Reader, header *tar.Header) (*Program, []byte, error) {
	sum := sha256.New()
	if header.FileInfo().Mode()&0o111 == 0 || header.Size < int64(len(elf)) || header.Size > programLimit {
		_, err := io.Copy(sum, content)
		return nil, sum.Sum(nil), err
	}
	return readProgram(io.TeeReader(content, sum), sum)
}

func readProgram(content io.Reader, sum hash.Hash) (*Program, []byte, error) {
	var start [len(elf)]byte
	if _, err := io.ReadFull(content, start[:]); err != nil {
		return nil, nil, err
	}
	if string(start[:]) != elf {
		_, err := io.Copy(io.Discard, content)
		return nil, sum.Sum(nil), err
	}
	rest, err := io.ReadAll(content)
	if err != nil {
		return nil, nil, err
	}
	info, err := buildinfo.Read(bytes.NewReader(append(start[:], rest...)))
	if err != nil {
		return nil, sum.Sum(nil), nil //nolint:nilerr // another compiler made it
	}
	return programOf(info), sum.Sum(nil), nil
}

func programOf(info *debug.BuildInfo) *Program {
	p := &Program{Go: info.GoVersion, Main: info.Path, Modules: []Module{}, Settings: map[string]string{}}
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		p.Modules = append(p.Modules, Module{module.Path, module.Version})
	}
	for _, setting := range info.Settings {
		p.Settings[setting.Key] = setting.Value
	}
	return p
}
