// Package browser tests the frontend's page in Chromium, served by Nginx with the
// configuration of its image. A stand-in for the backend answers. Tests that need a
// program that is not installed are skipped and report how to install it. Screenshots
// are artifacts of the tests:
//
//	go test ./browser -artifacts -outputdir DIR
package browser
