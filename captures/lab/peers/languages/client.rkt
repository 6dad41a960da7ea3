#lang racket/base
;; Racket's net/http-client: a connection that is kept, and simple ports of net/url.
(require net/http-client net/url racket/port)
(define kept (http-conn-open "10.9.0.2" #:port 8080 #:auto-reconnect? #t))
(for ([n 5])
  (for ([path '("/small" "/late" "/large" "/none" "/rows")])
    (define-values (status heads in) (http-conn-sendrecv! kept path))
    (port->bytes in))
  (define-values (status heads in) (http-conn-sendrecv! kept "/upload" #:method "POST" #:data (make-bytes 20000 117)))
  (port->bytes in)
  (sleep 0.3))
(for ([n 5]) (port->bytes (get-pure-port (string->url "http://10.9.0.2:8080/small"))) (sleep 0.2))
