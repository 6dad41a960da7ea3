"""Starts waitress with wsgi_app.py: waitress_app.py ADDRESS PORT."""

import sys

import waitress
from wsgi_app import application

waitress.serve(application, host=sys.argv[1], port=int(sys.argv[2]))
