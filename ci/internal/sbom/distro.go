package sbom

import (
	"cmp"

	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"

	"dagger/slipway/internal/contents"
)

// vendor is who makes packages of a format, where the image does not say.
var vendor = map[string]string{"apk": "alpine", "deb": "debian"}

// addDistro lists the distribution and its packages.
func (b *builder) addDistro(platform common.ElementID, held contents.Contents) {
	distro := held.Distro
	if distro.ID != "" {
		system := b.add(spdx.Package{PackageName: distro.ID, PackageVersion: distro.Version, PrimaryPackagePurpose: purposeSystem},
			purl("generic", "", distro.ID, distro.Version, nil))
		b.relate(platform, common.TypeRelationshipContains, system)
	}
	for _, p := range held.Packages {
		qualifiers := map[string]string{}
		if p.Architecture != "" {
			qualifiers["arch"] = p.Architecture
		}
		if distro.ID != "" {
			qualifiers["distro"] = distro.ID + "-" + distro.Version
		}
		listed := spdx.Package{PackageName: p.Name, PackageVersion: p.Version, PrimaryPackagePurpose: purposeLibrary}
		if p.License != "" { // told, not declared: it need not be an SPDX expression
			listed.PackageLicenseComments = "the package database says " + p.License
		}
		if p.Source != "" && p.Source != p.Name {
			listed.PackageSourceInfo = "built from " + p.Source
		}
		id := b.add(listed, purl(p.Format, cmp.Or(distro.ID, vendor[p.Format]), p.Name, p.Version, qualifiers))
		b.relate(platform, common.TypeRelationshipContains, id)
	}
}
