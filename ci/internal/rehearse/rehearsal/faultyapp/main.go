// Command faultyapp is the new version in a rehearsal's scenarios: the entry point of a
// service's image, in place of its program. Its first argument selects the fault, and
// the second is the command for which it fails; the others are the container's command. With
// another one, such as that of another service with the same image, it executes the image's
// program. It uses only the standard library, because it is compiled from this file alone.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	fault, command := os.Args[1], os.Args[3:]
	if strings.Join(command, " ") != os.Args[2] {
		execute(command)
	}
	fmt.Printf("starting version %s\n", os.Getenv("VERSION"))
	switch fault {
	case "crash":
		fmt.Fprintln(os.Stderr, "fatal: cannot read configuration: DATABASE_URL is not set")
		os.Exit(1)
	case "unhealthy":
		serve(always(response{"500 Internal Server Error", "", "error: no connection to the database, answering 500 to %q\n"}))
	case "wrong-version":
		serve(always(response{"200 OK", `{"status":"ok","version":"of yesterday"}`, "answering %q\n"}))
	case "bad-canary": // the smoke test of new versions uses another port than clients
		version := fmt.Sprintf(`{"status":"ok","version":%q}`, os.Getenv("VERSION"))
		serve(func(header string) response {
			if strings.Contains(header, "\r\nX-Forwarded-Port: 80\r\n") {
				return response{"500 Internal Server Error", "", "error: the price list has no prices, answering 500 to %q\n"}
			}
			return response{"200 OK", version, "answering %q\n"}
		})
	case "hang":
		fmt.Println("waiting for a lock that is never released")
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		<-stop
	default:
		fmt.Fprintf(os.Stderr, "unknown fault %q: want crash, unhealthy, wrong-version, bad-canary or hang\n", fault)
		os.Exit(2)
	}
}

// execute replaces this process by the image's program.
func execute(command []string) {
	self, err := os.Executable()
	if err == nil {
		program := filepath.Join(filepath.Dir(self), "server")
		err = syscall.Exec(program, append([]string{program}, command...), os.Environ()) //nolint:gosec // the image's own command
	}
	fmt.Fprintln(os.Stderr, "fatal:", err)
	os.Exit(1)
}

// response is a response and the line that logs its request.
type response struct{ status, body, log string }

// always returns the same response to each request.
func always(r response) func(string) response { return func(string) response { return r } }

// serve logs each request and responds to it, also to health checks. respond gets the header
// with its line breaks.
func serve(respond func(header string) response) {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8000"
	}
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fatal:", err)
		os.Exit(1)
	}
	fmt.Printf("listening on port %s\n", port)
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			lines := bufio.NewReader(connection)
			request, header := "", ""
			for !strings.HasSuffix(header, "\r\n\r\n") {
				line, err := lines.ReadString('\n')
				if err != nil {
					return
				}
				if request == "" {
					request = line
				}
				header += line
			}
			r := respond(header)
			fmt.Printf(r.log, request)
			fmt.Fprintf(connection, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", r.status, len(r.body), r.body)
		}()
	}
}
