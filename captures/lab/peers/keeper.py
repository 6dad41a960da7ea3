"""Starts a program, and starts it again whenever it ends, as a container's supervisor does: keeper.py COMMAND..."""

import subprocess
import sys
import time

while True:
    subprocess.run(sys.argv[1:], check=False)
    time.sleep(0.05)
