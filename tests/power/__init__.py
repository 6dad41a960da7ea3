"""Measure the power of the tests: which kinds of tests notice which planted faults.

    python -m tests.power measure RESULTS.jsonl    plant each fault in a copy of the sources and run the tests there
    python -m tests.power table RESULTS.jsonl      print what was noticed

Of each kind, the cases of the changed part run, and a fixed tenth of the others. A kind ends at the first case that fails, or
when its time is over. A case that also fails without the fault does not count.
"""
