// As threaded_pools.py, with Go's http.Transport: transport_pool BASE CONNECTIONS SECONDS AIM SPREAD BUSY
package main

import (
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

const step = 0.001

var mutex sync.Mutex
var aim float64
var answered, lost int

func get(client *http.Client, url string) (string, error) {
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
	return response.Header.Get("X-Port"), nil
}

func pause(seconds float64) {
	time.Sleep(time.Duration(seconds * float64(time.Second)))
}

func main() {
	numbers := []float64{}
	for _, word := range os.Args[2:] {
		number, _ := strconv.ParseFloat(word, 64)
		numbers = append(numbers, number)
	}
	base, spread, busy := os.Args[1], numbers[3], numbers[4]
	aim = numbers[2]
	deadline := time.Now().Add(time.Duration(numbers[1] * float64(time.Second)))
	var all sync.WaitGroup
	for n := 0; n < int(numbers[0]); n++ {
		all.Add(1)
		go func() {
			defer all.Done()
			client, port := &http.Client{Transport: &http.Transport{}}, ""
			for time.Now().Before(deadline) {
				now, err := get(client, base+"/bytes/20")
				mutex.Lock()
				if err != nil {
					lost++
					aim -= step
				} else {
					answered++
					if now == port {
						aim += step
					} else if port != "" {
						aim -= step
					}
					port = now
				}
				rest := aim + spread*(2*rand.Float64()-1)
				mutex.Unlock()
				if err == nil {
					pause(rest)
				}
			}
		}()
	}
	client := &http.Client{Transport: &http.Transport{}}
	for busy > 0 && time.Now().Before(deadline) {
		get(client, fmt.Sprintf("%s/work/%d", base, int(busy)))
		pause(0.01 + 0.09*rand.Float64())
	}
	all.Wait()
	fmt.Printf("{\"answered\": %d, \"lost\": %d, \"aim\": %f}\n", answered, lost, aim)
}
