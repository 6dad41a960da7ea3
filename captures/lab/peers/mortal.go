// An application that can die, on Go's net/http: mortal PORT LIMIT_MS [graceful]. Paths as in mortal_app.py, and /thrown/MS (an
// aborted handler, which closes its connection). `graceful`: SIGTERM ends it by Shutdown.
package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func handle(w http.ResponseWriter, r *http.Request) {
	words := strings.Split(r.URL.Path, "/")
	number, _ := strconv.Atoi(words[2])
	pause := time.Duration(number) * time.Millisecond
	size := 20
	switch words[1] {
	case "bytes":
		size = number
	case "slow":
		time.Sleep(pause)
	case "work":
		for end := time.Now().Add(pause); time.Now().Before(end); {
		}
	case "die":
		time.Sleep(pause)
		os.Exit(1)
	case "shot":
		time.Sleep(pause)
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "thrown":
		time.Sleep(pause)
		panic(http.ErrAbortHandler)
	}
	io.Copy(io.Discard, r.Body)
	w.Header().Set("X-Port", r.RemoteAddr[strings.LastIndex(r.RemoteAddr, ":")+1:])
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(size))
	io.WriteString(w, strings.Repeat("g", size))
}

func main() {
	limit, _ := strconv.Atoi(os.Args[2])
	server := &http.Server{Addr: ":" + os.Args[1], Handler: http.HandlerFunc(handle), IdleTimeout: time.Duration(limit) * time.Millisecond}
	if len(os.Args) > 3 {
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		go func() {
			<-stop
			server.Shutdown(context.Background())
			os.Exit(0)
		}()
	}
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		panic(err)
	}
	select {}
}
