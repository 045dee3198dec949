package doctor

// VersionAfter is versionAfter, for programs that tests make up.
var VersionAfter = versionAfter
