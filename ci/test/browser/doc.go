// Package browser tests what people see: the frontend's page in Chromium, served
// by the Nginx and the configuration that its image has, with the answers of the
// backend as it is in the source tree. What needs a program that is not there is
// skipped, and says how to get it. Screenshots are artifacts of the tests:
//
//	go test ./browser -artifacts -outputdir DIR
package browser
