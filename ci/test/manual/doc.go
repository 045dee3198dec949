// Package manual holds the manual to the code: README.md and everything below docs/.
// It has tests alone.
//
// A fenced block whose info string has the word "runnable" after the language is
// executed, with slipway on PATH, in a clone of the tree as it stands:
//
//	```sh runnable
//	slipway rehearse --skip-tests
//	```
//
// Small services replace its backend and frontend. Each block runs in a shell and a clone
// of its own. Further words are "aws", for the environment that `slipway rehearse --keep`
// prints, and "needs=PROGRAM", without which the block is skipped. Blocks with "aws" that
// follow one another run in one shell. A block "text output" that follows says what is
// printed: each of its lines must come, in that order, where "…" is anything.
//
// Whatever else a page writes as code is compared with the code: commands, flags,
// functions of the module, links. And what the code has, the manual must have:
// docs/reference.md is generated from it, and docs/troubleshooting.md must know each
// of its hints and refusals. After a change of commands, functions or variables:
//
//	go -C ci/test test ./manual -update
//
// which also writes the blocks that package manual/run executes, and the lines that package
// blackbox does.
package manual
