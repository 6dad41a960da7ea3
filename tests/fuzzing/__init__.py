"""Fuzzing: inputs that nobody thought of, and what must hold of them all the same.

    python -m tests.fuzzing run [HARNESS...] --minutes N      looks for inputs that break something
    python -m tests.fuzzing mutants --count N --seed S        changes captures, and reads each change
    python -m tests.fuzzing replay FILE                       reads again what was found

docs/pages/contributing.md explains it. Every trouble that is found becomes a test: a ladder, bytes of packets, or a small
capture.
"""
