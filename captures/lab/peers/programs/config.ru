S, L = "s" * 300, "l" * 300_000
run lambda { |env|
  path = env["PATH_INFO"]
  case path
  when "/events", "/rows"
    n, pause, text = path == "/events" ? [20, 0.15, "data: event\n\n"] : [30, 0.04, "{}\n"]
    type = path == "/events" ? "text/event-stream" : "application/x-ndjson"
    [200, { "Content-Type" => type }, Enumerator.new { |out| n.times { sleep pause; out << text } }]
  when "/empty" then [204, {}, []]
  when "/upload" then [200, { "Content-Type" => "text/plain" }, [env["rack.input"].read.size.to_s]]
  else
    sleep 0.7 if path == "/late"
    body = path == "/large" ? L : S
    [200, { "Content-Type" => "text/plain", "Content-Length" => body.size.to_s }, [body]]
  end
}
