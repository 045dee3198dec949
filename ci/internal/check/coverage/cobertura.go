package coverage

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"time"
)

// The elements of Cobertura's coverage-04.dtd with all required attributes. Go measures no
// branches, so their counts are 0.
type (
	coberturaXML struct {
		XMLName         xml.Name           `xml:"coverage"`
		LineRate        string             `xml:"line-rate,attr"`
		BranchRate      int                `xml:"branch-rate,attr"`
		LinesCovered    int                `xml:"lines-covered,attr"`
		LinesValid      int                `xml:"lines-valid,attr"`
		BranchesCovered int                `xml:"branches-covered,attr"`
		BranchesValid   int                `xml:"branches-valid,attr"`
		Complexity      int                `xml:"complexity,attr"`
		Version         string             `xml:"version,attr"`
		Timestamp       int64              `xml:"timestamp,attr"` // milliseconds since 1970
		Sources         []string           `xml:"sources>source"`
		Packages        []coberturaPackage `xml:"packages>package"`
	}
	coberturaPackage struct {
		Name       string           `xml:"name,attr"`
		LineRate   string           `xml:"line-rate,attr"`
		BranchRate int              `xml:"branch-rate,attr"`
		Complexity int              `xml:"complexity,attr"`
		Classes    []coberturaClass `xml:"classes>class"`
	}
	coberturaClass struct {
		Name       string          `xml:"name,attr"`
		Filename   string          `xml:"filename,attr"`
		LineRate   string          `xml:"line-rate,attr"`
		BranchRate int             `xml:"branch-rate,attr"`
		Complexity int             `xml:"complexity,attr"`
		Methods    struct{}        `xml:"methods"`
		Lines      []coberturaLine `xml:"lines>line"`
	}
	coberturaLine struct {
		Number int `xml:"number,attr"`
		Hits   int `xml:"hits,attr"`
	}
)

const coberturaHeader = xml.Header +
	`<!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd">` + "\n"

// WriteCobertura writes the report as Cobertura XML, which GitLab, Azure
// Pipelines, Jenkins and Codecov read. A Go file is a class. Rates count lines, so they
// differ slightly from [Totals], which counts statements.
func (r Report) WriteCobertura(w io.Writer, at time.Time) error {
	doc := coberturaXML{Version: "1", Timestamp: at.UnixMilli(), Sources: []string{"."}}
	for _, m := range r.Modules {
		for _, p := range m.Packages {
			element, covered, valid := coberturaOf(p)
			doc.Packages = append(doc.Packages, element)
			doc.LinesCovered += covered
			doc.LinesValid += valid
		}
	}
	doc.LineRate = rate(doc.LinesCovered, doc.LinesValid)
	if _, err := io.WriteString(w, coberturaHeader); err != nil {
		return fmt.Errorf("writing Cobertura XML: %w", err)
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", " ")
	if err := encoder.Encode(doc); err != nil {
		return fmt.Errorf("writing Cobertura XML: %w", err)
	}
	return nil
}

func coberturaOf(p Package) (element coberturaPackage, covered, valid int) {
	element.Name = p.ImportPath
	for _, f := range p.Files {
		class := coberturaClass{Name: f.Name(), Filename: f.Path}
		hit := 0
		for _, l := range f.lines() {
			class.Lines = append(class.Lines, coberturaLine(l))
			if l.Hits > 0 {
				hit++
			}
		}
		class.LineRate = rate(hit, len(class.Lines))
		element.Classes = append(element.Classes, class)
		covered += hit
		valid += len(class.Lines)
	}
	element.LineRate = rate(covered, valid)
	return element, covered, valid
}

// rate returns part/whole. Without lines it is 1, as in Cobertura itself.
func rate(part, whole int) string {
	if whole == 0 {
		return "1"
	}
	return strconv.FormatFloat(float64(part)/float64(whole), 'f', 4, 64)
}
