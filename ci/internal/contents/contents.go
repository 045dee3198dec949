// Package contents is what an image has in it that somebody else made: the
// programs built by Go, with the modules in them, and the packages of the Linux
// distribution below. Bills of materials and vulnerability scans begin here.
package contents

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// Contents is what is known of one image, one platform.
type Contents struct {
	// Programs are sorted by path.
	Programs []Program
	// Distro is the Linux distribution; its zero value means none.
	Distro Distro
	// Packages are the distribution's, sorted by name, then version.
	Packages []Package
}

// Program is an executable that Go built.
type Program struct {
	Path string // from the image's root, without a leading slash
	Info *buildinfo.BuildInfo
	Data []byte
}

// Distro is a Linux distribution, as /etc/os-release tells it.
type Distro struct {
	ID      string // such as "alpine"
	Version string // such as "3.22.1"
}

// Package is one installed package of a distribution.
type Package struct {
	// Format is the kind of package, in the words of package URLs: "apk" or "deb".
	// https://github.com/package-url/purl-spec/blob/main/PURL-TYPES.rst
	Format       string
	Name         string
	Version      string
	Architecture string
	// Source is the package that it was built from, where the database says so.
	Source string
	// License is what the database says, which is not always an SPDX expression.
	License string
}

const (
	// programLimit is the size in bytes of the largest file that is looked into as
	// a program; Go's own programs stay far below it.
	programLimit = 1 << 30
	// databaseLimit is that of a package database.
	databaseLimit = 256 << 20
)

// Where distributions keep what they are and have installed.
const (
	apkDatabase  = "lib/apk/db/installed"
	apkDatabase2 = "usr/lib/apk/db/installed" // since Alpine 3.23, where /lib is a link
	dpkgDatabase = "var/lib/dpkg/status"
	// dpkgFolder has a file a package in distroless images.
	dpkgFolder = "var/lib/dpkg/status.d/"
)

// Read reads the image's file system as a container sees it: what an upper layer
// deletes or replaces is not among it.
func Read(ctx context.Context, img v1.Image) (Contents, error) {
	stream := mutate.Extract(img)
	defer stream.Close()
	var c Contents
	release := map[string]Distro{}
	archive := tar.NewReader(stream)
	for {
		if ctx.Err() != nil {
			return Contents{}, fmt.Errorf("reading the image's files: %w", context.Cause(ctx))
		}
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			// mutate.Extract ends its archive before it tells that a layer broke off.
			if _, err := io.Copy(io.Discard, stream); err != nil {
				return Contents{}, fmt.Errorf("reading the image's files: %w", err)
			}
			break
		}
		if err != nil {
			return Contents{}, fmt.Errorf("reading the image's files: %w", err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		name := strings.TrimPrefix(path.Clean("/"+header.Name), "/")
		if err := c.add(name, header.Size, archive, release); err != nil {
			return Contents{}, fmt.Errorf("reading /%s of the image: %w", name, err)
		}
	}
	c.Distro = release["etc/os-release"]
	if c.Distro == (Distro{}) { // where it is a link, to the file in /usr/lib
		c.Distro = release["usr/lib/os-release"]
	}
	slices.SortFunc(c.Programs, func(a, b Program) int { return strings.Compare(a.Path, b.Path) })
	slices.SortFunc(c.Packages, comparePackages)
	c.Packages = slices.Compact(c.Packages)
	return c, nil
}

// add takes what there is to know of one file.
func (c *Contents) add(name string, size int64, content io.Reader, release map[string]Distro) error {
	switch {
	case name == "etc/os-release", name == "usr/lib/os-release":
		data, err := read(content, size, databaseLimit)
		release[name] = parseRelease(data)
		return err
	case name == apkDatabase, name == apkDatabase2:
		data, err := read(content, size, databaseLimit)
		c.Packages = append(c.Packages, parseAPK(data)...)
		return err
	case name == dpkgDatabase, strings.HasPrefix(name, dpkgFolder) && !strings.HasSuffix(name, ".md5sums"):
		data, err := read(content, size, databaseLimit)
		c.Packages = append(c.Packages, parseDpkg(data, name == dpkgDatabase)...)
		return err
	default:
		return c.addProgram(name, size, content)
	}
}

// elf is what every program for Linux begins with.
var elf = []byte("\x7fELF")

func (c *Contents) addProgram(name string, size int64, content io.Reader) error {
	if size < int64(len(elf)) || size > programLimit {
		return nil
	}
	head := make([]byte, len(elf))
	if _, err := io.ReadFull(content, head); err != nil {
		return err
	}
	if !bytes.Equal(head, elf) {
		return nil
	}
	data, err := io.ReadAll(io.MultiReader(bytes.NewReader(head), content))
	if err != nil {
		return err
	}
	info, err := buildinfo.Read(bytes.NewReader(data))
	if err != nil {
		return nil //nolint:nilerr // a program that another compiler made
	}
	c.Programs = append(c.Programs, Program{Path: name, Info: info, Data: data})
	return nil
}

func read(content io.Reader, size, limit int64) ([]byte, error) {
	if size > limit {
		return nil, fmt.Errorf("it has %d bytes, more than any such file (%d)", size, limit)
	}
	return io.ReadAll(content)
}

func comparePackages(a, b Package) int {
	for _, order := range []int{
		strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version),
		strings.Compare(a.Architecture, b.Architecture), strings.Compare(a.Format, b.Format),
	} {
		if order != 0 {
			return order
		}
	}
	return 0
}
