# Nim's asynchttpserver: a small page, a late one, a large one, an upload.
import std/[asynchttpserver, asyncdispatch, strutils]

proc main() {.async.} =
  var server = newAsyncHttpServer()
  proc answer(asked: Request) {.async.} =
    case asked.url.path
    of "/late":
      await sleepAsync(300)
      await asked.respond(Http200, "late\n")
    of "/large": await asked.respond(Http200, repeat("0123456789", 30000))
    of "/none": await asked.respond(Http204, "")
    of "/upload": await asked.respond(Http200, $asked.body.len)
    else: await asked.respond(Http200, "small\n")
  server.listen(Port(8080))
  while true:
    if server.shouldAcceptRequest(): await server.acceptRequest(answer)
    else: await sleepAsync(100)

waitFor main()
