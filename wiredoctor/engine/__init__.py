"""Run the core over a capture and pass its tables to the rules.

`Analysis` in run.py reads a capture batch by batch. processes.py divides this work among several processes, and live.py analyzes
a capture while it grows. second_pass.py reads a capture again for outputs that show packets. `wiredoctor.pipeline` uses all of
these modules.
"""
