"""Takes mail on port 2525 and throws it away."""

import asyncore
import smtpd


class Sink(smtpd.SMTPServer):
    def process_message(self, *_arguments, **_options):
        return None


Sink(("0.0.0.0", 2525), None)
asyncore.loop()
