package scaffold

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"text/template"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
)

// templates has a folder for each kind. Files in a template's folder "home" are written
// to the folder of the site's home page.
//
//go:embed templates
var templates embed.FS

const (
	templateSuffix = ".tmpl"
	homeFolder     = "site/home/"
)

// file is a new file. The name is slash-separated and relative to the service's folder.
type file struct {
	name string
	data []byte
}

// templateData is the data of templates.
type templateData struct {
	platform.Service
	Module module
	Paths  paths
	// Home is the path of the home page. Root is the relative path from the service's
	// folder to the root of the tree.
	Home, Root string
}

var functions = template.FuncMap{
	// literal returns the path of a [net/http.ServeMux] pattern.
	"literal": func(pattern string) string { return strings.TrimSuffix(pattern, "{$}") },
}

// render returns the files of a service.
func render(service platform.Service, m module) ([]file, error) {
	data := templateData{
		Service: service, Module: m, Paths: servedPaths(service), Home: homePath(service),
		Root: strings.Repeat("../", 1+strings.Count(service.Path, "/")),
	}
	var files []file
	root := path.Join("templates", string(service.Kind))
	err := fs.WalkDir(templates, root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(templates, name)
		if err != nil {
			return err
		}
		parsed, err := template.New(name).Funcs(functions).Parse(string(text))
		if err != nil {
			return err
		}
		var content bytes.Buffer
		if err := parsed.Execute(&content, data); err != nil {
			return err
		}
		target := strings.TrimSuffix(strings.TrimPrefix(name, root+"/"), templateSuffix)
		if inside, ok := strings.CutPrefix(target, homeFolder); ok {
			target = path.Join("site", data.Home, inside)
		}
		files = append(files, file{target, content.Bytes()})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("writing a service of kind %s: %w", service.Kind, err)
	}
	return files, nil
}
