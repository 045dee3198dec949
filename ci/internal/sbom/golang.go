package sbom

import (
	"encoding/base64"
	"encoding/hex"
	"path"
	"runtime/debug"
	"strings"

	"github.com/package-url/packageurl-go"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"

	"dagger/slipway/internal/contents"
)

// addProgram lists what a program was built from: its own module, the modules
// that it depends on and the standard library of the toolchain.
func (b *builder) addProgram(platform common.ElementID, program contents.Program) {
	own := program.Info.Main
	if own.Path == "" { // a program of the toolchain itself
		own = debug.Module{Path: program.Info.Path}
	}
	main := b.addModule(own, purposeApplication)
	b.relate(platform, common.TypeRelationshipContains, main)
	library := b.addModule(debug.Module{Path: "stdlib", Version: program.Info.GoVersion}, purposeLibrary)
	b.relate(main, common.TypeRelationshipDependsOn, library)
	for _, module := range program.Info.Deps {
		b.relate(main, common.TypeRelationshipDependsOn, b.addModule(*module, purposeLibrary))
	}
}

func (b *builder) addModule(module debug.Module, purpose string) common.ElementID {
	if module.Replace != nil {
		module = *module.Replace
	}
	p := spdx.Package{PackageName: module.Path, PackageVersion: module.Version, PrimaryPackagePurpose: purpose, PackageChecksums: moduleSum(module.Sum)}
	version := module.Version
	switch {
	case version == "(devel)": // its version is the image's
		p.PackageVersion, version = "", ""
	case module.Path == "stdlib": // whose versions package URLs write without "go"
		version = strings.TrimPrefix(version, "go")
	}
	folder, name := path.Split(module.Path)
	return b.add(p, purl(packageurl.TypeGolang, strings.TrimSuffix(folder, "/"), name, version, nil))
}

// moduleSum is a module's sum in go.sum. "h1" is a SHA-256, of the list of the
// module's files and their sums. https://go.dev/ref/mod#go-sum-files
func moduleSum(sum string) []common.Checksum {
	encoded, ok := strings.CutPrefix(sum, "h1:")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil {
		return nil
	}
	return checksum(hex.EncodeToString(raw))
}
