%% httpd of Erlang/OTP: a small page, a late one, a large one, rows in chunks, an upload; and httpc as its client.
-module(answer).
-export([serve/0, use/0, do/1]).
-include_lib("inets/include/httpd.hrl").

serve() ->
  ok = inets:start(),
  {ok, _} = inets:start(httpd, [{port, 8080}, {server_name, "lab"}, {server_root, "."}, {document_root, "."},
                                {keep_alive_timeout, 4}, {modules, [answer]}]),
  timer:sleep(infinity).

do(Asked) -> {proceed, [{response, page(Asked#mod.request_uri, Asked)}]}.

page("/late", _) -> timer:sleep(300), {200, "late\n"};
page("/large", _) -> {200, lists:duplicate(300000, $x)};
page("/upload", Asked) -> {200, integer_to_list(length(Asked#mod.entity_body))};
page("/none", _) -> {response, [{code, 204}], []};
page("/rows", Asked) ->
  httpd_response:send_header(Asked, 200, [{"transfer-encoding", "chunked"}, {"content-type", "text/plain"}]),
  [begin httpd_response:send_chunk(Asked, "row of some length\n", false), timer:sleep(200) end || _ <- lists:seq(1, 8)],
  httpd_response:send_final_chunk(Asked, [], false),
  {already_sent, 200, 160};
page(_, _) -> {200, "small\n"}.

use() ->
  ok = inets:start(),
  Url = "http://10.9.0.2:8080/",
  [begin
    [httpc:request(get, {Url ++ Path, []}, [{timeout, 8000}], []) || Path <- ["small", "late", "large", "none", "rows"]],
    httpc:request(post, {Url ++ "upload", [], "text/plain", binary:copy(<<"u">>, 20000)}, [{timeout, 8000}], []),
    timer:sleep(300)
  end || _ <- lists:seq(1, 5)],
  halt().
