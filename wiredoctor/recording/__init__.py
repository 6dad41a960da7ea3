"""Capture packets into files that the analysis reads while they grow: the program `python -m wiredoctor.recording`.

A backend (dumpcap, tcpdump or raw sockets) captures. This program writes only complete blocks of the backend's output to the
file, so the file can be read at any time. The request is one JSON object (`request.py`); events are lines of JSON (`events.py`).
The program ends when the process that started it ends, and the backend ends with the program. The program needs only the
standard library; scapy is imported only to open raw sockets.
"""
