package inspect

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"dagger/slipway/internal/source"
)

// WriteText writes the report for people to read.
func (r Report) WriteText(w io.Writer) {
	fmt.Fprintf(w, "%s  %s\n", r.Image, r.Digest)
	for _, name := range slices.Sorted(maps.Keys(r.Annotations)) {
		fmt.Fprintf(w, "  annotation %s: %s\n", name, r.Annotations[name])
	}
	for _, p := range r.Platforms {
		fmt.Fprintf(w, "\n%s  %s  %s\n", p.Platform, p.Digest, size(p.Size))
		fields := p.Configuration.fields()
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			fmt.Fprintf(w, "  %s: %s\n", name, source.Display(fields[name]))
		}
		for n, layer := range p.Layers {
			fmt.Fprintf(w, "  layer %d  %s  %s, %s unpacked  %s\n", n+1, layer.Digest, size(layer.Size), size(layer.Unpacked), source.Display(layer.By))
			for _, f := range layer.Files {
				fmt.Fprintf(w, "    %s %6d:%-6d %9s  %s%s\n", f.Mode, f.UID, f.GID, size(f.Size), source.Display(f.Path), arrow(f.Link))
			}
		}
		for _, program := range p.Programs {
			fmt.Fprintf(w, "  program %s  %s by %s, %d modules\n", program.Path, program.Main, program.Go, len(program.Modules))
			for _, m := range program.Modules {
				fmt.Fprintf(w, "    %s %s\n", m.Path, m.Version)
			}
		}
	}
}

// WriteText writes the difference for people to read: "-" stands before what
// only the first image has, "+" before what only the second has, "~" before
// what both have differently.
func (d Difference) WriteText(w io.Writer) {
	fmt.Fprintf(w, "from  %s  %s\nto    %s  %s\n", d.From.Image, d.From.Digest, d.To.Image, d.To.Digest)
	if d.Identical {
		fmt.Fprintln(w, "they are the same image")
		return
	}
	writeChanges(w, "annotation", d.Annotations)
	for _, p := range d.Platforms {
		fmt.Fprintf(w, "\n%s\n", p.Platform)
		switch {
		case p.OnlyIn != "":
			fmt.Fprintf(w, "  only in %s\n", p.OnlyIn)
		case len(p.Configuration)+len(p.Files)+len(p.Modules) == 0:
			fmt.Fprintln(w, "  the same files and the same configuration")
		}
		writeChanges(w, "configuration", p.Configuration)
		writeChanges(w, "file", p.Files)
		writeChanges(w, "module", p.Modules)
	}
}

func writeChanges(w io.Writer, what string, changes []Change) {
	for _, c := range changes {
		sign, value := "~", c.From+"  =>  "+c.To
		switch {
		case c.From == "":
			sign, value = "+", c.To
		case c.To == "":
			sign, value = "-", c.From
		}
		fmt.Fprintf(w, "  %s %s %s  %s\n", sign, what, source.Display(c.Name), value)
	}
}

func arrow(link string) string {
	if link == "" {
		return ""
	}
	return " -> " + source.Display(link)
}

// size is a number of bytes in words.
func size(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1e6, "MB"}, {1e3, "kB"}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
