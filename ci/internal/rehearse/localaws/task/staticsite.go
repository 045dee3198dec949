package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"os"
	"path"
	"strings"
	"sync"
	"time"
)

// SiteLabel is the image label with the directory of a static site. It is what the
// embedded AWS serves of an image that was built without its web server.
const SiteLabel = "dev.slipway.site"

// staticSite returns the directory of a container that is a static site without a web
// server: it has the label, and its program does not exist.
func staticSite(spec Spec) (dir string, ok bool) {
	dir = spec.Image.Config.Labels[SiteLabel]
	if dir == "" {
		return "", false
	}
	argv := spec.argv()
	if len(argv) == 0 {
		return dir, true
	}
	return dir, !spec.has(argv[0])
}

// has reports whether a program is in the image.
func (s Spec) has(program string) bool {
	_, _, err := lookPath(s.Image.Root, s.workDir(), program, s.environment())
	return err == nil
}

// siteServer serves a static site in place of its web server.
type siteServer struct {
	server *http.Server
	done   chan struct{}

	mu     sync.Mutex
	unused map[net.Conn]struct{} // connections without a request
}

func (s *Sandbox) startSite(spec Spec, dir string) (Container, error) {
	host, err := resolve(spec.Image.Root, dir)
	if err != nil {
		return nil, startErrorf("label %s: %s does not exist in the image", SiteLabel, dir)
	}
	root, err := os.OpenRoot(host)
	if err != nil {
		return nil, startErrorf("opening the site %s: %v", dir, err)
	}
	return s.serve(spec, siteHandler{root.FS()}, root.Close, "the image has no web server: the embedded AWS serves its site "+dir)
}

// serve starts a server in place of a container's program. The line is logged; release is
// called when the server has ended.
func (s *Sandbox) serve(spec Spec, handler http.Handler, release func() error, line string) (Container, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		_ = release()
		return nil, fmt.Errorf("listening for the site of %s: %w", spec.Name, err)
	}
	for _, port := range spec.Ports {
		s.addRoute(port, l.Addr().String())
	}
	c := &siteServer{done: make(chan struct{}), unused: map[net.Conn]struct{}{}}
	c.server = &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		ConnState: c.trackConn,
	}
	spec.log(line)
	go func() {
		defer close(c.done)
		defer func() { _ = release() }()
		_ = c.server.Serve(l) // ends with ErrServerClosed once it is stopped
	}()
	return c, nil
}

func (s Spec) log(line string) {
	if s.Output != nil {
		s.Output(time.Now().UTC(), line)
	}
}

func (c *siteServer) Done() <-chan struct{} { return c.done }

func (c *siteServer) ExitCode() int { return 0 }

func (c *siteServer) Check(context.Context, []string) error { return nil }

// trackConn keeps track of the connections without a request.
func (c *siteServer) trackConn(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.unused, conn)
	if state == http.StateNew {
		c.unused[conn] = struct{}{}
	}
}

// closeUnused closes those connections. Clients with a connection pool leave some, for
// which Shutdown would wait five seconds.
func (c *siteServer) closeUnused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.unused {
		_ = conn.Close() // it may be closed already
	}
}

// Stop waits for requests in progress, for at most grace. The load balancer sends no
// new ones.
func (c *siteServer) Stop(grace time.Duration) {
	c.closeUnused()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := c.server.Shutdown(ctx); err != nil {
		_ = c.server.Close()
	}
	<-c.done
}

// siteHandler serves a directory as a web server does.
type siteHandler struct{ files fs.FS }

func (h siteHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "ok")
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	if name == "" || strings.HasSuffix(r.URL.Path, "/") {
		name = path.Join(name, "index.html")
	}
	if err := h.serve(w, r, name); err != nil {
		h.notFound(w)
	}
}

func (h siteHandler) serve(w http.ResponseWriter, r *http.Request, name string) error {
	f, err := h.files.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	content, ok := f.(io.ReadSeeker)
	if info.IsDir() || !ok {
		return errors.New("not a file")
	}
	http.ServeContent(w, r, name, info.ModTime(), content)
	return nil
}

func (h siteHandler) notFound(w http.ResponseWriter) {
	page, err := fs.ReadFile(h.files, "404.html")
	if err != nil {
		page = []byte("404 Not Found\n")
	} else {
		w.Header().Set("Content-Type", mime.TypeByExtension(".html"))
	}
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write(page)
}
