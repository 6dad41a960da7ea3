// Requests with Go's net/http: go_client PAUSE {METHOD BODY URL}..., as in requests_of.py; behind a body in pieces comes a
// trailer field, and !SIZE is for Expect: 100-continue.
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

type pieces struct {
	left    int
	request *http.Request
}

func (p *pieces) Read(into []byte) (int, error) {
	if p.left == 0 {
		p.request.Trailer.Set("Checksum", fmt.Sprintf("%08x", crc32.ChecksumIEEE(nil)))
		return 0, io.EOF
	}
	size := p.left
	if size > 1000 {
		size = 1000
	}
	copy(into, strings.Repeat("u", size))
	p.left -= size
	return size, nil
}

func request(method, body, url string) *http.Request {
	size, _ := strconv.Atoi(strings.TrimLeft(body, "~!"))
	var content io.Reader
	if body != "" {
		content = strings.NewReader(strings.Repeat("u", size))
	}
	made, err := http.NewRequest(method, url, content)
	if err != nil {
		panic(err)
	}
	if strings.HasPrefix(body, "~") {
		made.Trailer = http.Header{"Checksum": nil}
		made.Body, made.ContentLength = io.NopCloser(&pieces{size, made}), -1
	}
	if strings.HasPrefix(body, "!") {
		made.Header.Set("Expect", "100-continue")
	}
	return made
}

func main() {
	pause, _ := time.ParseDuration(os.Args[1] + "s")
	for at := 2; at+2 < len(os.Args); at += 3 {
		response, err := http.DefaultClient.Do(request(os.Args[at], os.Args[at+1], os.Args[at+2]))
		if err != nil {
			panic(err)
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
		time.Sleep(pause)
	}
}
