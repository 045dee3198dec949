package coverage

import (
	"bytes"
	"maps"
	"slices"
)

// line is one line of code and how often it ran.
type line struct {
	Number, Hits int
}

// lines converts blocks to lines, the unit of most other tools. A line in several blocks
// has the highest count of them. Lines without code (blank, comment, closing bracket) are
// left out.
func (f File) lines() []line {
	source := bytes.Split(f.source, []byte("\n"))
	hits := map[int]int{}
	for _, block := range f.profile.Blocks {
		for number := block.StartLine; number <= block.EndLine; number++ {
			if f.source != nil && (number > len(source) || !isCode(source[number-1])) {
				continue
			}
			hits[number] = max(hits[number], block.Count)
		}
	}
	lines := make([]line, 0, len(hits))
	for _, number := range slices.Sorted(maps.Keys(hits)) {
		lines = append(lines, line{Number: number, Hits: hits[number]})
	}
	return lines
}

func isCode(text []byte) bool {
	text = bytes.TrimSpace(text)
	return len(bytes.Trim(text, "}]),")) > 0 && !bytes.HasPrefix(text, []byte("//"))
}
