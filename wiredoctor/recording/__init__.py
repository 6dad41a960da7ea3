"""Captures packets into files, which the analysis reads while they grow: a program, `python -m wiredoctor.recording`.

A backend (dumpcap, tcpdump, raw sockets) captures; what it hands over is written here, in whole blocks only, so that a file
can be read at every moment. What is asked for comes as one JSON object (`request.py`), what happens is told in lines of JSON
(`events.py`). This program ends with whoever started it, and the backend with this program. Standard library only; scapy is
imported where raw sockets are opened.
"""
