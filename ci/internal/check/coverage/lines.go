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

// lines translates blocks into lines, the unit of most tools outside Go. A
// line that several blocks touch ran as often as the most frequent of them.
// Lines that hold no code (blank, comment, closing bracket) do not count.
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
