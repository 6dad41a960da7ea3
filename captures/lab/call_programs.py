"""Programs for programs.py: message queues, remote calls and pages, with Python and Node libraries."""

# ruff: noqa: E501, for the command lines and files of these programs

from __future__ import annotations

import sys

from program import ALONE, HELD, HERE, MODULES, NAGLE, PORT, SERVER, URL, Program, Serve, Words, command, shell

REDIS = command("redis-server --port 6399 --bind 0.0.0.0 --protected-mode no --save ''", 6399)


def serve(name: str, port: int = PORT) -> Serve:
    """Return a server that uses a library of peers/programs/services.py."""
    return command(f"{{python}} {{programs}}/services.py serve {name} 0.0.0.0 {port}", port)


def use(name: str, port: int = PORT) -> Words:
    """Return the command of a client in peers/programs/services.py."""
    return (sys.executable, str(HERE / "services.py"), "use", name, SERVER, str(port))


def node_serve(name: str, port: int = PORT) -> Serve:
    """Return a server that uses a module of peers/programs/services.mjs."""
    return command(f"node {{programs}}/services.mjs serve {name} 0.0.0.0 {port} {{modules}}", port)


def node_use(name: str, port: int = PORT) -> Words:
    """Return the command of a client in peers/programs/services.mjs."""
    return ("node", str(HERE / "services.mjs"), "use", name, SERVER, str(port), MODULES)


PUBLISH = (
    f"mosquitto_sub -h {SERVER} -p 1883 -t '#' -q 1 >/dev/null & S=$!; "
    f"for n in $(seq 60); do echo m$n; sleep 0.1; done | mosquitto_pub -h {SERVER} -p 1883 -t a/b -q 1 -l; kill $S"
)

PYPI = (
    "for n in 1 2 3; do {python} -m pip -q --isolated download --trusted-host 10.9.0.2 --no-cache-dir --no-deps --index-url "
    f"{URL}/simple/ -d got$n lab0 lab1 lab2 lab3; uv -q pip install --no-cache --no-deps --target t$n --index-url {URL}/simple/ --no-build lab0 lab1 lab2 lab3; sleep 1; done"
).replace("{python}", sys.executable)

GLANCES = f"for n in $(seq 12); do curl -s {URL}/api/4/cpu {URL}/api/4/all {URL}/api/4/processlist -o /dev/null -o /dev/null -o /dev/null; sleep 0.7; done"

LATE = f"for n in 1 2 3 4; do curl -s {URL}/ {URL}/small {URL}/none -o /dev/null -o /dev/null -o /dev/null; sleep 1; done"

CALLS_OF_PYTHON = (
    Program("opcua", "asyncua: OPC UA subscriptions and reads", serve("opcua", 4840), (use("opcua", 4840),), ("asyncua",)),
    Program("zerorpc", "zerorpc: calls, heartbeats, a stream", serve("zerorpc", 4242), (use("zerorpc", 4242),), ("zerorpc",)),
    Program("celery", "Celery at Redis", REDIS, (use("celery", 6399),), ("celery", "redis-server"), seconds=22),
    Program("huey", "Huey at Redis", REDIS, (use("huey", 6399), use("huey", 6399)), ("huey", "redis-server")),
    Program("amqtt", "aMQTT and mosquitto's clients", serve("amqtt", 1883), (shell(PUBLISH),), ("amqtt", "mosquitto_pub")),
    Program("autobahn", "Autobahn tells three readers something", serve("autobahn"), (use("autobahn"),), ("autobahn",)),
    Program(
        "falcon",
        "Falcon on bjoern",
        serve("falcon"),
        (use("pages"), use("pages")),
        ("falcon", "bjoern", "httpx"),
        may={NAGLE: HELD, "tinygrams": "it writes each row of 3 bytes"},
    ),
    Program("blacksheep", "BlackSheep on uvicorn", serve("blacksheep"), (use("pages"), use("pages")), ("blacksheep", "httpx")),
    Program("soap", "Spyne on waitress, and Zeep", serve("soap"), (use("soap"), use("soap")), ("spyne", "zeep"), may=ALONE),
    Program(
        "gradio",
        "Gradio, and a program that calls it",
        serve("gradio"),
        (use("gradio"), shell(LATE)),
        ("gradio",),
        may=ALONE,
        seconds=25,
    ),
    Program("nicegui", "NiceGUI with a clock", serve("nicegui"), (shell(LATE),), ("nicegui",), may=ALONE),
    Program("otlp", "OpenTelemetry sends spans", serve("otlp"), (use("otlp"), use("otlp")), ("opentelemetry",)),
    Program(
        "pypiserver",
        "pip and uv at pypiserver",
        command(
            "sh -c 'python3 {programs}/repositories.py pip {folder}/site && mkdir p && cp $(find site -name \"*.whl\") p && exec {python} -m pypiserver run -p 8080 p'"
        ),
        (shell(PYPI),),
        ("pypiserver", "uv"),
        may=ALONE,
        seconds=25,
    ),
    Program(
        "glances",
        "Glances' server, asked by curl",
        command("{python} -m glances -w -p 8080 -B 0.0.0.0 -q"),
        (shell(GLANCES),),
        ("glances",),
        may=ALONE,
        seconds=25,
    ),
)

CALLS_OF_NODE = (
    Program("bullmq", "BullMQ at Redis", REDIS, (node_use("bullmq", 6399),), ("/bullmq", "redis-server"), seconds=22),
    Program(
        "tus",
        "tus: uploads that can be resumed",
        command("sh -c 'mkdir uploads; exec node {programs}/services.mjs serve tus 0.0.0.0 8080 {modules}'"),
        (node_use("tus"),),
        ("/@tus/server",),
    ),
    Program("peerjs", "PeerJS's server", node_serve("peer"), (node_use("peer"),), ("/peer", "/ws")),
    Program("trpc", "tRPC: batches and a subscription", node_serve("trpc"), (node_use("trpc"),), ("/@trpc/server",)),
    Program("yjs", "Yjs: two editors", node_serve("yjs"), (node_use("yjs"),), ("/yjs", "/y-websocket")),
    Program("nest", "Nest, with events", node_serve("nest"), (use("pages"), node_use("bursts")), ("/@nestjs/core", "httpx")),
    Program("polka", "Polka and sirv", node_serve("polka"), (use("pages"), node_use("bursts")), ("/polka", "/sirv")),
    Program(
        "live-server",
        "live-server, a page that it reloads",
        command(
            "sh -c 'touch site/index.html; exec node {modules}/node_modules/.bin/live-server site --port=8080 --no-browser --quiet'"
        ),
        (node_use("reloads"), shell("for n in 1 2 3; do sleep 1.7; touch site/small.txt; done")),
        ("/live-server", "/ws"),
        may=ALONE,
    ),
)
