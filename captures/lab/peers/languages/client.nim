# Nim's httpclient: one client for all, then one for each.
import std/[httpclient, os, strutils]

let url = "http://10.9.0.2:8080"
let client = newHttpClient(timeout = 8000)
for n in 1 .. 6:
  for path in ["/small", "/late", "/large", "/none"]: discard client.getContent(url & path)
  discard client.postContent(url & "/upload", body = repeat("u", 20000))
  sleep(300)
client.close()
for n in 1 .. 5:
  let other = newHttpClient(timeout = 8000)
  discard other.getContent(url & "/small")
  other.close()
  sleep(200)
