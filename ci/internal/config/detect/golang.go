package detect

import (
	"context"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
)

// goModule is a Go module of the repository.
type goModule struct {
	folder, path string
	requires     []string
	packages     map[string]*goPackage // by folder
}

// goPackage is what the files of a package say, without tests.
type goPackage struct {
	isMain     bool // with a function main
	imports    []string
	literals   map[string]bool
	listens    string // the call that listens, or ""
	portFlags  []portFlag
	addresses  []int // ports of literal addresses
	usesClient bool
	cgo        bool
}

// portFlag is a command-line flag that sets a port, and its default.
type portFlag struct {
	name string
	port int
}

// linux selects the files that are compiled into an image.
var linux = func() build.Context {
	c := build.Default
	c.GOOS, c.GOARCH, c.CgoEnabled = "linux", "amd64", true
	return c
}()

// mainPackages returns the main packages of all Go modules. The order is that of folders.
func (t *tree) mainPackages(ctx context.Context) []*Candidate {
	var found []*Candidate
	modules := t.modules()
	folders := map[*goModule][]string{}
	for _, folder := range t.folders {
		m := t.moduleOf(folder, modules)
		folders[m] = append(folders[m], folder)
	}
	for _, m := range modules {
		if ctx.Err() != nil {
			return nil
		}
		for _, folder := range folders[m] {
			if !m.load(t, folder).isMain {
				continue
			}
			relative, err := filepath.Rel(filepath.FromSlash(m.folder), filepath.FromSlash(folder))
			if err != nil {
				continue
			}
			c := &Candidate{Build: platform.Build{Kind: platform.Go, Path: m.folder, Main: "."}}
			if relative != "." {
				c.Main = "./" + filepath.ToSlash(relative)
			}
			c.Name = path.Base(folder)
			if relative == "." || slices.Contains([]string{"server", "app", "main", "cmd"}, c.Name) {
				c.Name = t.nameOf(m.folder)
				if m.folder == "." && m.path != "" {
					prefix, _, _ := module.SplitPathVersion(m.path)
					c.Name = path.Base(prefix)
				}
			}
			c.because("%s: main package of module %s", path.Join(folder, "*.go"), m.path)
			m.describe(t, c, folder)
			found = append(found, c)
		}
	}
	return found
}

// modules returns the modules, the outermost first.
func (t *tree) modules() []*goModule {
	var all []*goModule
	for _, folder := range t.folders {
		name := path.Join(folder, "go.mod")
		if !t.has[name] {
			continue
		}
		m := &goModule{folder: folder, packages: map[string]*goPackage{}}
		data := t.read(name)
		m.path = modfile.ModulePath(data)
		if file, err := modfile.ParseLax(name, data, nil); err == nil {
			for _, r := range file.Require {
				m.requires = append(m.requires, r.Mod.Path)
			}
		}
		all = append(all, m)
	}
	return all
}

// moduleOf returns the innermost module that has a folder.
func (t *tree) moduleOf(folder string, modules []*goModule) *goModule {
	var of *goModule
	for _, m := range modules {
		if isWithin(folder, m.folder) && (of == nil || isWithin(m.folder, of.folder)) {
			of = m
		}
	}
	return of
}

// load parses the files of a package.
func (m *goModule) load(t *tree, folder string) *goPackage {
	if p, ok := m.packages[folder]; ok {
		return p
	}
	p := &goPackage{literals: map[string]bool{}}
	m.packages[folder] = p
	for _, name := range t.names[folder] {
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		if match, err := linux.MatchFile(filepath.Join(t.dir, filepath.FromSlash(folder)), name); err != nil || !match {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, t.read(path.Join(folder, name)), parser.SkipObjectResolution)
		if err != nil {
			continue // the compiler's message is better
		}
		p.add(file)
	}
	return p
}

func (p *goPackage) add(file *ast.File) {
	for _, spec := range file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		p.imports = append(p.imports, name)
		p.cgo = p.cgo || name == "C"
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			p.isMain = p.isMain || file.Name.Name == "main" && n.Recv == nil && n.Name.Name == "main"
		case *ast.BasicLit:
			p.addLiteral(n)
		case *ast.CallExpr:
			p.addCall(n)
		case *ast.CompositeLit:
			if isSelector(n.Type, "http", "Server") {
				p.listens = "http.Server"
			}
		}
		return true
	})
}

// address matches a literal address to listen on.
var address = regexp.MustCompile(`^(0\.0\.0\.0|localhost|127\.0\.0\.1|\[::\])?:([0-9]{2,5})$`)

func (p *goPackage) addLiteral(literal *ast.BasicLit) {
	text, err := strconv.Unquote(literal.Value)
	if literal.Kind != token.STRING || err != nil {
		return
	}
	p.literals[text] = true
	if match := address.FindStringSubmatch(text); match != nil {
		if port := portOf(match[2]); port != 0 && !slices.Contains(p.addresses, port) {
			p.addresses = append(p.addresses, port)
		}
	}
}

// listenCalls are methods of net/http, and of frameworks, that listen on a port.
var listenCalls = []string{"ListenAndServe", "ListenAndServeTLS", "StartServer"}

func (p *goPackage) addCall(call *ast.CallExpr) {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return
	}
	name := selector.Sel.Name
	switch {
	case slices.Contains(listenCalls, name), isSelector(selector, "net", "Listen"), isSelector(selector, "tls", "Listen"), isSelector(selector, "grpc", "NewServer"):
		p.listens = name
	case (name == "Listen" || name == "Run" || name == "Start" || name == "Listener") && p.importsFramework():
		p.listens = name
	case isSelector(selector, "http", "Get"), isSelector(selector, "http", "Post"), isSelector(selector, "http", "NewRequestWithContext"), isSelector(selector, "http", "NewRequest"):
		p.usesClient = true
	}
	// X.Int("port", 8080, "…"), X.StringVar(&v, "port", "8080", "…")
	for n, argument := range call.Args[:max(0, min(2, len(call.Args)-1))] {
		flag := literalText(argument)
		if flag != "port" && flag != "http-port" && flag != "listen-port" && flag != "p" {
			continue
		}
		if port := portOf(literalText(call.Args[n+1])); port != 0 && !strings.HasPrefix(name, "Set") {
			p.portFlags = append(p.portFlags, portFlag{flag, port})
		} else if inner, ok := call.Args[n+1].(*ast.CallExpr); ok && len(inner.Args) > 0 { // a variable's value, or a default
			if port := portOf(literalText(inner.Args[len(inner.Args)-1])); port != 0 {
				p.portFlags = append(p.portFlags, portFlag{flag, port})
			}
		}
	}
}

// frameworks are modules whose types listen by themselves.
var frameworks = regexp.MustCompile(`^github\.com/(gin-gonic/gin|labstack/echo|gofiber/fiber|valyala/fasthttp|kataras/iris|beego/beego|gorilla/mux)(/|$)`)

func (p *goPackage) importsFramework() bool {
	return slices.ContainsFunc(p.imports, frameworks.MatchString)
}

func isSelector(e ast.Expr, pkg, name string) bool {
	selector, ok := e.(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != name {
		return false
	}
	ident, ok := selector.X.(*ast.Ident)
	return ok && ident.Name == pkg
}

// literalText returns the text of a string or number; "" for other expressions.
func literalText(e ast.Expr) string {
	literal, ok := e.(*ast.BasicLit)
	if !ok {
		return ""
	}
	if text, err := strconv.Unquote(literal.Value); err == nil {
		return text
	}
	return literal.Value
}

// portOf returns a port, or 0 if the text is none.
func portOf(text string) int {
	port, err := strconv.Atoi(strings.TrimPrefix(text, ":"))
	if err != nil || port < 1 || port > 65535 {
		return 0
	}
	return port
}

// describe adds what the main package, and the packages of the module that it imports,
// say about a service.
func (m *goModule) describe(t *tree, c *Candidate, folder string) {
	packages := m.closure(t, folder)
	c.HasHealthCommand = packages[0].literals["healthcheck"]
	var all goPackage
	all.literals = map[string]bool{}
	for _, p := range packages {
		for text := range p.literals {
			all.literals[text] = true
		}
		if p.listens != "" && all.listens == "" {
			all.listens = p.listens
		}
		all.portFlags = append(all.portFlags, p.portFlags...)
		all.addresses = append(all.addresses, p.addresses...)
		all.usesClient = all.usesClient || p.usesClient
		all.cgo = all.cgo || p.cgo
	}
	if module := m.cgoModule(); module != "" || all.cgo {
		if module == "" {
			module = `import "C"`
		}
		c.Not = "needs cgo (" + module + "), and kind go compiles without: build it with a Dockerfile"
	}
	if all.listens == "" {
		c.Worker, c.Not = true, "listens on no port: a worker, a job or a command-line program"
		return
	}
	c.because("it calls %s, so it listens", all.listens)
	m.findPort(c, all)
	m.findHealthPath(c, all)
	if !c.HasHealthCommand {
		c.because("no subcommand healthcheck: only the load balancer checks its health")
	}
	if all.usesClient && !slices.Contains(m.requires, "golang.org/x/crypto/x509roots/fallback") {
		c.because("it sends requests: for HTTPS, import golang.org/x/crypto/x509roots/fallback, because the image has no root certificates")
	}
}

// closure returns the main package and the packages of the module that it imports.
func (m *goModule) closure(t *tree, folder string) []*goPackage {
	var all []*goPackage
	seen := map[string]bool{folder: true}
	queue := []string{folder}
	for len(queue) > 0 {
		p := m.load(t, queue[0])
		queue = queue[1:]
		all = append(all, p)
		for _, name := range p.imports {
			inside, ok := strings.CutPrefix(name, m.path+"/")
			if name == m.path {
				inside, ok = ".", true
			}
			if to := path.Join(m.folder, inside); ok && !seen[to] {
				seen[to] = true
				queue = append(queue, to)
			}
		}
	}
	return all
}

// cgoModules are common modules that need cgo.
var cgoModules = []string{"github.com/mattn/go-sqlite3", "github.com/confluentinc/confluent-kafka-go", "github.com/confluentinc/confluent-kafka-go/v2"}

func (m *goModule) cgoModule() string {
	for _, name := range m.requires {
		if slices.Contains(cgoModules, name) {
			return name
		}
	}
	return ""
}

func (m *goModule) findPort(c *Candidate, p goPackage) {
	if len(p.portFlags) > 0 {
		c.PortFlag, c.Port = p.portFlags[0].name, p.portFlags[0].port
		c.because("flag %s has the default %d", c.PortFlag, c.Port)
	}
	if p.literals["PORT"] {
		c.ReadsPort = true
		c.because("it reads PORT")
	}
	if c.Port != 0 {
		return
	}
	slices.Sort(p.addresses)
	switch addresses := slices.Compact(p.addresses); len(addresses) {
	case 0:
	case 1:
		c.Port = addresses[0]
		c.because("the code has the address :%d", c.Port)
	default:
		c.because("the code has addresses of several ports: %v", addresses)
	}
}

// healthPaths are usual paths of health checks, the best first.
var healthPaths = []string{"/healthz", "/health", "/health/live", "/livez", "/live", "/readyz", "/ready", "/healthcheck", "/health-check", "/_health", "/-/healthy", "/ping", "/status"}

func (m *goModule) findHealthPath(c *Candidate, p goPackage) {
	c.HealthPath = "/"
	has := func(at string) bool { return p.literals[at] || p.literals["GET "+at] }
	for _, at := range healthPaths {
		if has(at) {
			c.HealthPath = at
			c.because("the code has the path %s", at)
			return
		}
	}
	for text := range p.literals {
		text = strings.TrimPrefix(text, "GET ")
		if strings.HasPrefix(text, "/") && (strings.HasSuffix(text, "/health") || strings.HasSuffix(text, "/healthz")) && !strings.ContainsAny(text, " {}*") && (c.HealthPath == "/" || text < c.HealthPath) {
			c.HealthPath = text
		}
	}
	if c.HealthPath != "/" {
		c.because("the code has the path %s", c.HealthPath)
		return
	}
	c.because("the code has no usual path of a health check, so / must answer 200")
}
