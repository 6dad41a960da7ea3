// A small application on Go's net/http, with its defaults: go_server PORT. Paths as in asgi_app.py, and
// /trailers/COUNT (chunks, and trailer fields behind them), /hints/SIZE (103 before 200).
package main

import (
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func chunks(w http.ResponseWriter, count, pause int) uint32 {
	chunk := []byte(strings.Repeat("a line of 40 bytes, of the application.\n", 10))
	sum := crc32.NewIEEE()
	for ; count > 0; count-- {
		w.Write(chunk)
		sum.Write(chunk)
		w.(http.Flusher).Flush()
		time.Sleep(time.Duration(pause) * time.Millisecond)
	}
	return sum.Sum32()
}

func handle(w http.ResponseWriter, r *http.Request) {
	words := append(strings.Split(r.URL.Path, "/"), "0", "0")
	first, _ := strconv.Atoi(words[2])
	second, _ := strconv.Atoi(words[3])
	w.Header().Set("Content-Type", "text/plain")
	switch words[1] {
	case "chunks":
		chunks(w, first, second)
	case "trailers":
		w.Header().Set("Trailer", "Checksum, Lines")
		sum := chunks(w, first, 0)
		w.Header().Set("Checksum", fmt.Sprintf("%08x", sum))
		w.Header().Set("Lines", strconv.Itoa(first*10))
	case "hints":
		w.Header().Set("Link", "</style.css>; rel=preload; as=style")
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, strings.Repeat("g", first))
	case "bytes":
		w.Header().Set("Content-Length", words[2])
		io.WriteString(w, strings.Repeat("g", first))
	default:
		size, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "received %d bytes, trailer %q\n", size, r.Trailer.Get("Checksum"))
	}
}

func main() {
	http.HandleFunc("/", handle)
	panic(http.ListenAndServe(":"+os.Args[1], nil))
}
