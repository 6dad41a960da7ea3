// A reverse proxy of Go's standard library.
//
//	go_proxy PORT CONNECT READ PREFIX=HOST:PORT...
//
// CONNECT and READ are time limits in milliseconds. A PREFIX that ends with ">" and another is replaced by that.
package main

import (
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

func limit(text string) time.Duration {
	number, err := strconv.Atoi(text)
	if err != nil {
		log.Fatal(err)
	}
	return time.Duration(number) * time.Millisecond
}

func main() {
	transport := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: limit(os.Args[2])}).DialContext,
		ResponseHeaderTimeout: limit(os.Args[3]),
		MaxIdleConnsPerHost:   8,
	}
	mux := http.NewServeMux()
	for _, route := range os.Args[4:] {
		path, address, _ := strings.Cut(route, "=")
		from, to, rewritten := strings.Cut(path, ">")
		target, err := url.Parse("http://" + address)
		if err != nil {
			log.Fatal(err)
		}
		proxy := httputil.NewSingleHostReverseProxy(target)
		proxy.Transport = transport
		proxy.ErrorLog = log.New(os.Stderr, "", 0)
		handler := http.Handler(proxy)
		if rewritten {
			handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.URL.Path = to + strings.TrimPrefix(r.URL.Path, from)
				proxy.ServeHTTP(w, r)
			})
		}
		mux.Handle(from, handler)
	}
	mux.HandleFunc("/gone/", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no server", 503) })
	log.Fatal(http.ListenAndServe(":"+os.Args[1], mux))
}
