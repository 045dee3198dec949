package task

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// command prepares a process of a container: in the image's root file system
// where the machine lets us change to it, otherwise with the program file of
// the image run in place.
func (s *Sandbox) command(spec Spec, argv, env []string) (*exec.Cmd, error) {
	if len(argv) == 0 || argv[0] == "" {
		return nil, startErrorf("no command specified")
	}
	root, dir := spec.Image.Root, spec.workDir()
	inside, outside, err := lookPath(root, dir, argv[0], env)
	if err != nil {
		return nil, startErrorf("%v", err)
	}
	if err := makeWorkDir(root, dir); err != nil {
		return nil, startErrorf("mkdir %s: %v", dir, err)
	}
	if !s.rt.chroot {
		return &exec.Cmd{
			Path: outside, Args: argv, Env: env, Dir: filepath.Join(root, filepath.FromSlash(dir)),
			SysProcAttr: isolation("", nil, false),
		}, nil
	}
	who, err := userOf(root, spec.user())
	if err != nil {
		return nil, startErrorf("%v", err)
	}
	return &exec.Cmd{
		Path: inside, Args: argv, Env: env, Dir: dir, SysProcAttr: isolation(root, who, s.own),
	}, nil
}

// makeWorkDir makes sure the working directory is there, as container runtimes do.
func makeWorkDir(root, dir string) error {
	r, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("opening the root file system: %w", err)
	}
	defer r.Close()
	if _, err := resolve(root, dir); err == nil {
		return nil
	}
	rel, err := filepath.Rel("/", filepath.Join("/", dir))
	if err != nil {
		return err
	}
	return r.MkdirAll(rel, 0o755)
}
