"""Commands to Redis one by one, a large value, and a pipeline: redis_client.py HOST."""

import sys

import redis

with redis.Redis(sys.argv[1], lib_name=None, lib_version=None) as client:
    for number in range(10):
        client.set(f"key {number}", "v" * 40)
        client.get(f"key {number}")
    client.set("large", "v" * 30_000)
    client.get("large")
    with client.pipeline(transaction=False) as pipeline:
        for number in range(40):
            pipeline.incr(f"counter {number}")
        pipeline.execute()
