"""Programs for programs.py: GraphQL, shared documents, notebooks, a web interface whose browser is closed, small servers."""

from __future__ import annotations

import sys

from program import ALONE, HERE, MODULES, PORT, SERVER, URL, Program, Serve, Words, command, shell


def served(name: str) -> Serve:
    """Return a server that runs a program of peers/programs/documents.mjs."""
    return command(f"node {{programs}}/documents.mjs {name} serve 0.0.0.0 {PORT} {{modules}}")


def using(name: str) -> Words:
    """Return the command of a client in peers/programs/documents.mjs."""
    return ("node", str(HERE / "documents.mjs"), name, "use", SERVER, str(PORT), MODULES)


def browser(path: str = "") -> Words:
    """Return a command that opens a page in Chromium, and closes the browser 8 s later."""
    options = "--headless=new --no-sandbox --disable-gpu --user-data-dir=$PWD/profile --remote-debugging-port=0"
    return shell(f"timeout -s INT 8 chromium {options} {URL}/{path}")


CRYSTAL = """require "http/server"
server = HTTP::Server.new([HTTP::CompressHandler.new, HTTP::StaticFileHandler.new("site")]) do |c|
  if c.request.path == "/events"
    c.response.content_type = "text/event-stream"
    25.times { |i| c.response.print "data: #{i}\\n\\n"; c.response.flush; sleep 0.1 }
  else
    c.response.print "hello"
  end
end
server.bind_tcp "0.0.0.0", 8080
server.listen
"""

FILES = f"for n in 1 2 3; do curl -s -N {URL}/events; curl -s --compressed {URL}/large.txt {URL}/small.txt -o a -o b; done"

NOTEBOOK = "import marimo\napp = marimo.App()\n@app.cell\ndef _():\n    return\n"

CLICKHOUSE = (
    "sh -c 'mkdir d && exec clickhouse-server -C /etc/clickhouse-server/config.xml -- --path=$PWD/d/ --http_port=8080 "
    "--listen_host=0.0.0.0'"
)

QUERIES = (
    f"for q in 'select 1' 'select number from numbers(300000)' 'select sleep(0.8)' 'create table t(a UInt32) engine=Memory'; "
    f'do curl -s {URL}/ --data-binary "$q" -o x; done; '
    f"seq 400000 | curl -s '{URL}/?query=insert+into+t+format+TSV' --data-binary @-; "
    f"curl -s '{URL}/?enable_http_compression=1&query=select+a+from+t' -H 'Accept-Encoding: gzip' -o y"
)

DOCUMENTS = (
    Program(
        "apollo", "Apollo Server answers queries of a Node client", served("apollo"), (using("apollo"),), ("node", "/@apollo")
    ),
    Program(
        "hocuspocus",
        "three writers share a text through Hocuspocus",
        served("hocuspocus"),
        (using("hocuspocus"),),
        ("node", "/@hocuspocus", "/yjs", "/ws"),
    ),
    Program(
        "marimo",
        "Chromium opens a notebook of marimo",
        command(f"{sys.executable} -m marimo edit n.py --headless --no-token --host 0.0.0.0 --port 8080", n_py=NOTEBOOK),
        (browser(),),
        ("chromium", "marimo"),
    ),
    Program(
        "deluge",
        "Chromium opens Deluge's web interface, and is closed while it loads",
        command("deluge-web -d -c . -p 8080 -i 0.0.0.0"),
        (browser(),),
        ("chromium", "deluge-web"),
    ),
    Program(
        "crystal",
        "Crystal's server streams, compresses and sends files",
        command("sh -c 'crystal build s.cr && exec ./s'", s_cr=CRYSTAL),
        (shell(FILES),),
        ("crystal",),
        may=ALONE,
    ),
    Program("clickhouse", "ClickHouse answers curl", command(CLICKHOUSE), (shell(QUERIES),), ("clickhouse-server",), may=ALONE),
)
