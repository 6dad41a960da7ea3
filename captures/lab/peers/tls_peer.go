// A TLS server (one line of HTTP for each connection), or a client that sends one request, from settings in JSON.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

type settings struct {
	Role, Address, Name, Chain, Key, Trusted, Verify, Minimum, Maximum, Path string
	Protocols                                                                []string
	Suites                                                                   []uint16
	Timeout                                                                  float64
	Tickets, Keep                                                            bool
	Requests                                                                 int
}

var versions = map[string]uint16{"": 0, "1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

func pool(file string) *x509.CertPool {
	if file == "" {
		return nil
	}
	read, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read)
	return roots
}

func main() {
	var s settings
	if err := json.Unmarshal([]byte(os.Args[1]), &s); err != nil {
		panic(err)
	}
	config := &tls.Config{MinVersion: versions[s.Minimum], MaxVersion: versions[s.Maximum], CipherSuites: s.Suites,
		NextProtos: s.Protocols, SessionTicketsDisabled: !s.Tickets, ServerName: s.Name, RootCAs: pool(s.Trusted)}
	if s.Chain != "" {
		pair, err := tls.LoadX509KeyPair(s.Chain, s.Key)
		if err != nil {
			panic(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if s.Role == "server" {
		if s.Verify != "" {
			config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, pool(s.Verify)
		}
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") })
		server := &http.Server{Addr: s.Address, TLSConfig: config, Handler: handler, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
		panic(server.ListenAndServeTLS("", ""))
	}
	config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	for range make([]struct{}, s.Requests) {
		transport := &http.Transport{TLSClientConfig: config, TLSHandshakeTimeout: time.Duration(s.Timeout * float64(time.Second))}
		client := http.Client{Transport: transport, Timeout: time.Duration(2 * s.Timeout * float64(time.Second))}
		answer, err := client.Get(s.Path)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		} else {
			io.ReadAll(answer.Body)
			answer.Body.Close()
		}
		transport.CloseIdleConnections()
	}
}
