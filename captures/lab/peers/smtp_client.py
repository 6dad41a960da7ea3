"""Sends two messages on one connection: smtp_client.py HOST."""

import smtplib
import sys

HEAD = "From: a@example.test\r\nTo: b@example.test\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\n"
LINE = "GET / HTTP/1.1 is what this line begins with.\r\n"

with smtplib.SMTP(sys.argv[1], 2525, local_hostname="client.test") as connection:
    for lines in (5, 120):
        connection.sendmail("a@example.test", ["b@example.test"], HEAD + LINE * lines)
