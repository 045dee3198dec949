package task

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// maxLinks is the kernel's limit of symbolic links in a path.
const maxLinks = 40

// resolve resolves a path and its symbolic links within a root file system, and returns
// the path of the file on this machine. Absolute links and ".." stay within the root.
func resolve(root, name string) (string, error) {
	rest := strings.Split(path.Clean("/"+name), "/")
	at := "/"
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		if part == "" || part == "." {
			continue
		}
		next := path.Join(at, part)
		info, err := os.Lstat(filepath.Join(root, filepath.FromSlash(next)))
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: too many levels of symbolic links", name)
		}
		target, err := os.Readlink(filepath.Join(root, filepath.FromSlash(next)))
		if err != nil {
			return "", err
		}
		if !path.IsAbs(target) {
			target = path.Join(at, target)
		}
		at = "/"
		rest = append(strings.Split(path.Clean(target), "/"), rest...)
	}
	return filepath.Join(root, filepath.FromSlash(at)), nil
}

// ensureDir creates a directory of a root file system, if it is missing, and returns
// its path on this machine. Symbolic links cannot leave the root.
func ensureDir(root, name string) (string, error) {
	if at, err := resolve(root, name); err == nil {
		return at, nil
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return "", err
	}
	defer r.Close()
	rel, err := filepath.Rel("/", filepath.Clean("/"+name))
	if err != nil {
		return "", err
	}
	if err := r.MkdirAll(rel, 0o755); err != nil {
		return "", err
	}
	return filepath.Join(root, rel), nil
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// lookPath finds a command in a root file system. It returns its path in the container
// and on this machine.
func lookPath(root, workDir, command string, env []string) (containerPath, hostPath string, err error) {
	candidates := []string{command}
	switch {
	case path.IsAbs(command):
	case strings.Contains(command, "/"):
		candidates = []string{path.Join("/", workDir, command)}
	default:
		candidates = nil
		for dir := range strings.SplitSeq(lookupEnv(env, "PATH", defaultPath), ":") {
			candidates = append(candidates, path.Join("/", dir, command))
		}
	}
	for _, candidate := range candidates {
		file, err := resolve(root, candidate)
		if err != nil {
			continue
		}
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return candidate, file, nil
		}
	}
	if len(candidates) == 1 {
		return "", "", fmt.Errorf("exec: %q: stat %s: no such file or directory", command, candidates[0])
	}
	return "", "", fmt.Errorf("exec: %q: executable file not found in $PATH", command)
}

// lookupEnv returns the last value of a variable in an environment, or a default.
func lookupEnv(env []string, key, defaultValue string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(env[i], key+"="); ok {
			return value
		}
	}
	return defaultValue
}

// userIDs are the ids of a container's user.
type userIDs struct{ uid, gid uint32 }

// resolveUser resolves the USER of an image (name or id, with or without a group) by
// the passwd and group files of the root file system.
func resolveUser(root, user string) (*userIDs, error) {
	if user == "" {
		return nil, nil //nolint:nilnil // no user: the container runs as this process's
	}
	name, group, _ := strings.Cut(user, ":")
	uid, gid, err := lookupID(root, "etc/passwd", name)
	if err != nil {
		return nil, fmt.Errorf("unable to find user %s: %w", name, err)
	}
	if group != "" {
		if gid, _, err = lookupID(root, "etc/group", group); err != nil {
			return nil, fmt.Errorf("unable to find group %s: %w", group, err)
		}
	}
	return &userIDs{uid, gid}, nil
}

// lookupID returns the id of a name or id in a passwd or group file, and the fourth
// field, which in passwd is the user's group. An id need not be in the file.
func lookupID(root, file, name string) (id, group uint32, err error) {
	for _, f := range readEntries(root, file) {
		if f[0] == name || f[2] == name {
			uid, _ := strconv.ParseUint(f[2], 10, 32)
			gid, _ := strconv.ParseUint(f[3], 10, 32)
			return uint32(uid), uint32(gid), nil
		}
	}
	n, err := strconv.ParseUint(name, 10, 32)
	if err != nil {
		return 0, 0, errors.New("no matching entries in " + path.Base(file) + " file")
	}
	return uint32(n), 0, nil
}

// readEntries returns the lines of a passwd or group file, if it exists.
func readEntries(root, file string) [][]string {
	at, err := resolve(root, file)
	if err != nil {
		return nil
	}
	text, err := os.ReadFile(at)
	if err != nil {
		return nil
	}
	var list [][]string
	for line := range strings.Lines(string(text)) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) >= 4 {
			list = append(list, f)
		}
	}
	return list
}
