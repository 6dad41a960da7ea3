"""Run the core over a capture and pass its tables to the rules.

`Analysis` in run.py does it batch by batch, processes.py in several processes, live.py while the capture grows. second_pass.py
reads the capture again for views of packets. `wiredoctor.pipeline` calls all of it.
"""
