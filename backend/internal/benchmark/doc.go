// Package benchmark holds no code but measurements: of the service as it is
// built for its image, run as a process of its own, beside bare fasthttp and
// Fiber without middleware. The load comes from wrk, where it is installed.
//
//	GOWORK=off go test ./internal/benchmark -run '^$' -bench . -benchtime 5s
//
// What must hold on any machine is a test; what depends on the machine is a
// benchmark's figure.
package benchmark
