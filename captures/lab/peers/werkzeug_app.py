"""Starts werkzeug's development server, which is Flask's, with wsgi_app.py: werkzeug_app.py PORT."""

import sys

from werkzeug.serving import run_simple
from wsgi_app import application

run_simple("0.0.0.0", int(sys.argv[1]), application, threaded=True)
