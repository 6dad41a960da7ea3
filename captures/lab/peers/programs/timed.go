// A server and a client of Go's standard library with time limits, as Go writes durations.
//
//	timed serve PORT READ-HEADER READ WRITE IDLE GRACE
//	timed use TIMEOUT HEADER URL...
//
// The server answers /wait/SECONDS late, /drip/SECONDS with a piece every quarter of a second, /panic with a panic and /left when
// its client is gone; SIGTERM shuts it down within GRACE. The client waits between its requests where a duration is in place of a
// URL.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path"
	"strings"
	"syscall"
	"time"
)

func limit(text string) time.Duration {
	duration, err := time.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	return duration
}

func answer(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch word, seconds := path.Dir(r.URL.Path), path.Base(r.URL.Path); {
	case word == "/wait":
		time.Sleep(limit(seconds + "s"))
	case word == "/drip":
		for end := time.Now().Add(limit(seconds + "s")); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
			if _, err := fmt.Fprintln(w, strings.Repeat("d", 500)); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
	case seconds == "panic":
		panic(http.ErrAbortHandler)
	case seconds == "left":
		<-r.Context().Done()
	}
	fmt.Fprintln(w, "done")
}

func serve(port string, limits []string) {
	server := &http.Server{
		Addr:              ":" + port,
		Handler:           http.HandlerFunc(answer),
		ReadHeaderTimeout: limit(limits[0]),
		ReadTimeout:       limit(limits[1]),
		WriteTimeout:      limit(limits[2]),
		IdleTimeout:       limit(limits[3]),
	}
	go server.ListenAndServe()
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	<-told
	within, cancel := context.WithTimeout(context.Background(), limit(limits[4]))
	defer cancel()
	server.Shutdown(within)
}

func use(timeout, header string, urls []string) {
	transport := &http.Transport{ResponseHeaderTimeout: limit(header)}
	client := &http.Client{Transport: transport, Timeout: limit(timeout)}
	for _, url := range urls {
		if pause, err := time.ParseDuration(url); err == nil {
			time.Sleep(pause)
			continue
		}
		response, err := client.Get(url)
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
		fmt.Println(url, err)
	}
}

func main() {
	if os.Args[1] == "serve" {
		serve(os.Args[2], os.Args[3:])
	} else {
		use(os.Args[2], os.Args[3], os.Args[4:])
	}
}
