local server, headers = require "http.server", require "http.headers"
local cqueues = require "cqueues"
local it = server.listen { host = "0.0.0.0", port = 8080, onstream = function(_, stream)
  local ask = assert(stream:get_headers())
  local path, answer = ask:get ":path", headers.new()
  answer:append(":status", path == "/empty" and "204" or "200")
  if path == "/upload" then stream:get_body_as_string() end
  if path == "/events" or path == "/rows" then
    answer:append("content-type", path == "/events" and "text/event-stream" or "application/x-ndjson")
    assert(stream:write_headers(answer, false))
    for _ = 1, path == "/events" and 20 or 30 do
      cqueues.sleep(path == "/events" and 0.15 or 0.04)
      stream:write_chunk(path == "/events" and "data: event\n\n" or "{}\n", false)
    end
    stream:write_chunk("", true)
    return
  end
  if path == "/late" then cqueues.sleep(0.7) end
  if path == "/empty" then assert(stream:write_headers(answer, true)) return end
  local body = (path == "/large") and ("l"):rep(300000) or ("s"):rep(300)
  answer:append("content-length", tostring(#body))
  assert(stream:write_headers(answer, ask:get ":method" == "HEAD"))
  if ask:get ":method" ~= "HEAD" then stream:write_chunk(body, true) end
end }
assert(it:listen())
assert(it:loop())
