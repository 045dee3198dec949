package contents

import (
	"strings"
)

// parseRelease reads /etc/os-release.
// https://www.freedesktop.org/software/systemd/man/latest/os-release.html
func parseRelease(data []byte) Distro {
	var d Distro
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "ID":
			d.ID = value
		case "VERSION_ID":
			d.Version = value
		}
	}
	return d
}

// parseAPK reads Alpine's database: paragraphs of lines such as "P:musl".
// https://wiki.alpinelinux.org/wiki/Apk_spec#Installed_Database_V2
func parseAPK(data []byte) []Package {
	var packages []Package
	for paragraph := range strings.SplitSeq(normalize(data), "\n\n") {
		p := Package{Format: "apk"}
		for line := range strings.Lines(paragraph) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			switch key {
			case "P":
				p.Name = value
			case "V":
				p.Version = value
			case "A":
				p.Architecture = value
			case "o":
				p.Source = value
			case "L":
				p.License = value
			}
		}
		if p.Name != "" {
			packages = append(packages, p)
		}
	}
	return packages
}

// parseDpkg reads Debian's database: paragraphs of fields such as "Package:
// libc6". With status only what is installed counts: removed packages leave a
// paragraph behind. https://man7.org/linux/man-pages/man1/dpkg.1.html
func parseDpkg(data []byte, status bool) []Package {
	var packages []Package
	for paragraph := range strings.SplitSeq(normalize(data), "\n\n") {
		p := Package{Format: "deb"}
		installed := !status
		for line := range strings.Lines(paragraph) {
			key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			if !ok || strings.HasPrefix(line, " ") {
				continue // a field's further lines
			}
			value = strings.TrimSpace(value)
			switch key {
			case "Package":
				p.Name = value
			case "Version":
				p.Version = value
			case "Architecture":
				p.Architecture = value
			case "Source":
				p.Source, _, _ = strings.Cut(value, " ") // its version, in brackets, may follow
			case "Status":
				installed = strings.HasSuffix(value, " installed")
			}
		}
		if p.Name != "" && installed {
			packages = append(packages, p)
		}
	}
	return packages
}

func normalize(data []byte) string { return strings.ReplaceAll(string(data), "\r\n", "\n") }
