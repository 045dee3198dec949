// Command app is a service whose behaviour tests choose by its arguments and
// environment. After /sick, /health responds with status 500; /die ends the process.
//
//	app            serve on $PORT (8000): / returns version and host name, /health has status $HEALTH_STATUS (200)
//	app exit N     print two lines and exit with N
//	app env        print the environment
//	app hang       do nothing, never listen
//	app stubborn   serve, and ignore SIGTERM
//	app spawn      start a copy of itself that hangs, then hang
//	app files      report which files can be written
//	app check      exit 0 if /health of the running service has status 200, otherwise 1
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
	"sync/atomic"
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
	case "env":
		for _, variable := range os.Environ() {
			fmt.Println(variable)
		}
		return
	case "hang":
		sleep()
	case "spawn":
		child := exec.Command("/proc/self/exe", "hang")
		if err := child.Start(); err != nil {
			child = exec.Command(os.Args[0], "hang")
			_ = child.Start()
		}
		fmt.Println("child", child.Process.Pid)
		sleep()
	case "files":
		_ = json.NewEncoder(os.Stdout).Encode(files())
	case "check":
		resp, err := http.Get("http://127.0.0.1:" + port() + "/health")
		if err != nil || resp.StatusCode != http.StatusOK {
			os.Exit(1)
		}
	default:
		serve(mode == "stubborn")
	}
}

// files reports what a container can do with its file system.
func files() map[string]any {
	try := func(err error) string {
		if err != nil {
			return err.Error()
		}
		return "ok"
	}
	create := func(name string) string {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			err = f.Close()
		}
		return try(err)
	}
	dir, _ := os.Getwd()
	hosts, _ := os.ReadFile("/etc/hosts")
	_, proc := os.Stat("/proc/self/fd/1")
	return map[string]any{
		"dir": dir, "hosts": string(hosts), "null": try(os.WriteFile("/dev/null", []byte("x"), 0)), "root": create("/written"),
		"volume": create("/data/written"), "readOnlyVolume": create("/config/written"), "proc": try(proc), "pid": os.Getpid(),
	}
}

// sleep never returns. The runtime would report an empty select as a deadlock.
func sleep() {
	for {
		time.Sleep(time.Hour)
	}
}

func port() string {
	if p := os.Getenv("PORT"); p != "" {
		return p
	}
	return "8000"
}

func serve(stubborn bool) {
	var sick atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		status, err := strconv.Atoi(os.Getenv("HEALTH_STATUS"))
		if err != nil {
			status = http.StatusOK
		}
		if sick.Load() {
			status = http.StatusInternalServerError
		}
		w.WriteHeader(status)
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.URL.Query().Get("for"))
		time.Sleep(d)
		fmt.Fprintln(w, "slept", d)
	})
	mux.HandleFunc("/sick", func(http.ResponseWriter, *http.Request) { sick.Store(true) })
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
	server := &http.Server{Addr: os.Getenv("LISTEN_HOST") + ":" + port(), Handler: mux, ReadHeaderTimeout: time.Minute}
	stop, done := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	fmt.Println("listening on", port())
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
