package manual_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"

	"github.com/stretchr/testify/require"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	tables "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
)

// page is a Markdown file of the repository.
type page struct {
	name    string // from the root, slash-separated
	text    string
	blocks  []block
	spans   []span
	links   []link
	anchors map[string]bool
	rows    []row
}

// block is a fenced block.
type block struct {
	line int // of its first line
	info []string
	code string
	next *block // that follows with nothing but text between
}

// is reports whether the words begin the block's info string.
func (b *block) is(words ...string) bool {
	return b != nil && len(b.info) >= len(words) && strings.Join(b.info[:len(words)], " ") == strings.Join(words, " ")
}

// span is code within a line.
type span struct {
	line int
	code string
}

type link struct {
	line   int
	target string
}

// row is a row of a table, by its header's cells.
type row struct {
	line int
	// cells are the texts, code the code spans of each cell.
	cells map[string]string
	code  map[string][]string
}

// root is the root of the source tree, of which the tests read these parts.
func root() string {
	return sourcetest.Root(source.Pages, ".github", "ci", "compose.yaml", "dagger.json", "examples", "terraform")
}

// pages returns all Markdown files of the tree.
func pages(t testing.TB) []page {
	t.Helper()
	all, err := readPages()
	require.NoError(t, err)
	require.NotEmpty(t, all)
	return all
}

var readPages = sync.OnceValues(func() (all []page, err error) {
	err = filepath.WalkDir(root(), func(file string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && file != root() && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules"):
			return filepath.SkipDir
		case filepath.Ext(name) != ".md":
			return nil
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root(), file)
		all = append(all, parse(filepath.ToSlash(name), string(data)))
		return err
	})
	return all, err
})

// pageNamed is one page.
func pageNamed(t testing.TB, name string) page {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(), filepath.FromSlash(name)))
	require.NoError(t, err)
	return parse(name, string(data))
}

func parse(name, source string) page {
	p := page{name: name, text: source, anchors: map[string]bool{}}
	data := []byte(source)
	document := goldmark.New(goldmark.WithExtensions(extension.Table)).Parser().Parse(text.NewReader(data))
	_ = ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		line := func(n ast.Node) int {
			for ; n != nil; n = n.Parent() {
				if n.Type() == ast.TypeBlock && n.Lines().Len() > 0 {
					return 1 + strings.Count(source[:n.Lines().At(0).Start], "\n")
				}
			}
			return 1
		}
		switch n := n.(type) {
		case *ast.FencedCodeBlock:
			b := block{line: line(n), code: string(n.Lines().Value(data))}
			if n.Info != nil {
				b.info = strings.Fields(string(n.Info.Value(data)))
			}
			p.blocks = append(p.blocks, b)
		case *ast.Heading:
			p.anchors[p.anchor(plain(n, data))] = true
		case *ast.Link:
			p.links = append(p.links, link{line(n), string(n.Destination)})
		case *ast.Image:
			p.links = append(p.links, link{line(n), string(n.Destination)})
		case *ast.AutoLink:
			p.links = append(p.links, link{line(n), string(n.URL(data))})
		case *ast.CodeSpan:
			p.spans = append(p.spans, span{line(n), strings.ReplaceAll(plain(n, data), "\n", " ")})
		case *tables.Table:
			p.rows = append(p.rows, readTable(n, data, line(n))...)
		}
		return ast.WalkContinue, nil
	})
	for n := range p.blocks[:max(0, len(p.blocks)-1)] {
		p.blocks[n].next = &p.blocks[n+1]
	}
	return p
}

// anchor is what GitHub calls a heading's place: the second of its kind is numbered.
func (p *page) anchor(heading string) string {
	var slug strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case r == ' ':
			slug.WriteByte('-')
		case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 127 && r != '…' && r != '–' && r != '’':
			slug.WriteRune(r)
		}
	}
	for again, n := slug.String(), 1; ; n++ {
		if !p.anchors[again] {
			return again
		}
		again = slug.String() + "-" + string(rune('0'+n))
	}
}

func readTable(table *tables.Table, data []byte, line int) (rows []row) {
	var header []string
	for child := table.FirstChild(); child != nil; child = child.NextSibling() {
		r := row{line: line, cells: map[string]string{}, code: map[string][]string{}}
		n := 0
		for cell := child.FirstChild(); cell != nil; cell = cell.NextSibling() {
			if child.Kind() == tables.KindTableHeader {
				header = append(header, plain(cell, data))
				continue
			}
			r.cells[header[n]] = plain(cell, data)
			for part := cell.FirstChild(); part != nil; part = part.NextSibling() {
				if part.Kind() == ast.KindCodeSpan {
					r.code[header[n]] = append(r.code[header[n]], plain(part, data))
				}
			}
			n++
		}
		if child.Kind() == tables.KindTableRow {
			rows = append(rows, r)
		}
	}
	return rows
}

// plain is the text below a node.
func plain(n ast.Node, data []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Value(data))
			if t.SoftLineBreak() {
				b.WriteByte(' ')
			}
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}
