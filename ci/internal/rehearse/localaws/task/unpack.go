package task

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	whiteout       = ".wh."         // deletes a file of a lower layer
	opaqueWhiteout = ".wh..wh..opq" // deletes the contents of a directory
)

// unpack writes an image's file system to dir. It writes through an os.Root, so that no
// entry and no symbolic link can reach outside of dir.
func unpack(ctx context.Context, img v1.Image, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("creating the root directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("opening the root directory: %w", err)
	}
	defer root.Close()
	layers, err := img.Layers()
	if err != nil {
		return fmt.Errorf("listing layers: %w", err)
	}
	for i, layer := range layers {
		if err := unpackLayer(ctx, layer, root); err != nil {
			return fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	return nil
}

func unpackLayer(ctx context.Context, layer v1.Layer, root *os.Root) error {
	content, err := layer.Uncompressed()
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	defer content.Close()
	e := layerExtractor{root: root, extracted: map[string]bool{}, setOwner: os.Geteuid() == 0}
	archive := tar.NewReader(content)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		if err := e.extract(header, archive); err != nil {
			return fmt.Errorf("%s: %w", header.Name, err)
		}
	}
}

// layerExtractor extracts one layer over the lower ones.
type layerExtractor struct {
	root      *os.Root
	extracted map[string]bool // files of this layer, which its whiteouts do not delete
	setOwner  bool            // only root may
}

func (e layerExtractor) extract(h *tar.Header, content io.Reader) error {
	name := path.Clean(strings.TrimLeft(h.Name, "/"))
	if name == "." {
		return nil
	}
	if !filepath.IsLocal(name) {
		return errors.New("the path leads outside of the image")
	}
	if base := path.Base(name); strings.HasPrefix(base, whiteout) {
		return e.applyWhiteout(path.Dir(name), base)
	}
	if err := e.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := e.removeConflict(name, h); err != nil {
		return err
	}
	e.extracted[name] = true
	switch h.Typeflag {
	case tar.TypeDir:
		if err := e.root.MkdirAll(name, 0o755); err != nil {
			return err
		}
	case tar.TypeReg:
		if err := e.writeFile(name, content); err != nil {
			return err
		}
	case tar.TypeSymlink:
		if err := e.root.Symlink(h.Linkname, name); err != nil {
			return err
		}
	case tar.TypeLink:
		return e.root.Link(path.Clean(strings.TrimLeft(h.Linkname, "/")), name)
	default:
		return nil // devices and pipes are not extracted
	}
	return e.setAttributes(name, h)
}

// removeConflict removes a lower layer's file at a path, unless both are directories.
func (e layerExtractor) removeConflict(name string, h *tar.Header) error {
	info, err := e.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() && h.Typeflag == tar.TypeDir {
		return nil
	}
	if err != nil {
		return err
	}
	return e.root.RemoveAll(name)
}

func (e layerExtractor) writeFile(name string, content io.Reader) error {
	f, err := e.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, content); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

func (e layerExtractor) setAttributes(name string, h *tar.Header) error {
	if e.setOwner {
		// A user namespace may lack the owner; the file then keeps this process's.
		_ = e.root.Lchown(name, h.Uid, h.Gid)
	}
	if h.Typeflag == tar.TypeSymlink {
		return nil
	}
	mode := h.FileInfo().Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	if !e.setOwner {
		mode |= 0o600 // so that this process can read and remove it
		if h.Typeflag == tar.TypeDir {
			mode |= 0o100
		}
	}
	return e.root.Chmod(name, mode)
}

// applyWhiteout deletes what a whiteout hides.
func (e layerExtractor) applyWhiteout(dir, base string) error {
	if base != opaqueWhiteout {
		name := path.Join(dir, strings.TrimPrefix(base, whiteout))
		if e.extracted[name] {
			return nil
		}
		return e.root.RemoveAll(name)
	}
	var hidden []string
	err := fs.WalkDir(e.root.FS(), dir, func(name string, _ fs.DirEntry, err error) error {
		if err == nil && name != dir && !e.extracted[name] {
			hidden = append(hidden, name)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for i := len(hidden) - 1; i >= 0 && err == nil; i-- {
		// Deepest first; a directory with files of this layer stays.
		if rmErr := e.root.Remove(hidden[i]); rmErr != nil && !errors.Is(rmErr, fs.ErrExist) {
			err = rmErr
		}
	}
	return err
}
