// Command app is a service whose behaviour tests choose by its arguments and
// environment.
//
//	app            serve on $PORT (8000): / tells version and host name, /health answers $HEALTH_STATUS (200)
//	app exit N     print two lines and exit with N
//	app hang       do nothing, never listen
//	app stubborn   serve, and ignore SIGTERM
//	app spawn      start a copy of itself that hangs, then hang
//	app check      exit 0 if the file /tmp/sick does not exist, 1 if it does
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	mode := "serve"
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	switch mode {
	case "exit":
		fmt.Println("starting", os.Getenv("VERSION"))
		fmt.Fprintln(os.Stderr, "panic: the database is on fire")
		code, _ := strconv.Atoi(os.Args[2])
		os.Exit(code)
	case "hang":
		select {}
	case "spawn":
		child := exec.Command("/proc/self/exe", "hang")
		if err := child.Start(); err != nil {
			child = exec.Command(os.Args[0], "hang")
			_ = child.Start()
		}
		fmt.Println("child", child.Process.Pid)
		select {}
	case "check":
		if _, err := os.Stat("/tmp/sick"); err == nil {
			os.Exit(1)
		}
	default:
		serve(mode == "stubborn")
	}
}

func serve(stubborn bool) {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8000"
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		status, err := strconv.Atoi(os.Getenv("HEALTH_STATUS"))
		if err != nil {
			status = http.StatusOK
		}
		w.WriteHeader(status)
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.URL.Query().Get("for"))
		time.Sleep(d)
		fmt.Fprintln(w, "slept", d)
	})
	mux.HandleFunc("/die", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		host, _ := os.Hostname()
		name := os.Getenv("HOSTNAME")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"version": os.Getenv("VERSION"), "host": host, "hostname": name, "path": r.URL.Path, "uid": os.Getuid(),
			"forwarded": r.Header.Get("X-Forwarded-For"), "proto": r.Header.Get("X-Forwarded-Proto"),
			"env": strings.Join(os.Environ(), "\n"),
		})
	})
	server := &http.Server{Addr: ":" + port, Handler: mux, ReadHeaderTimeout: time.Minute}
	fmt.Println("listening on", port)
	stop, done := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		for range signals {
			if stubborn {
				continue
			}
			_ = server.Shutdown(context.Background())
			done()
		}
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-stop.Done()
	fmt.Println("bye")
}
