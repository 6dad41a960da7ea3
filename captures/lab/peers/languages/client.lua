-- LuaSocket: socket.http, as scripts use it, and a line protocol of its own.
local http, ltn12 = require("socket.http"), require("ltn12")
http.TIMEOUT = 8
for n = 1, 5 do
  for _, path in ipairs({ "small", "late", "large", "none", "rows" }) do http.request("http://10.9.0.2:8080/" .. path) end
  http.request("http://10.9.0.2:8080/upload", string.rep("u", 20000))
  require("socket").sleep(0.3)
end
