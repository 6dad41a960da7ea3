#lang racket/base
;; Racket's web server: a small page, a late one, a large one, rows in pieces, an upload.
(require web-server/servlet-env web-server/http net/url)
(define (plain . what) (response/full 200 #"OK" (current-seconds) #"text/plain" '() what))
(define (answer asked)
  (define path (path/param-path (car (url-path (request-uri asked)))))
  (cond [(equal? path "late") (sleep 0.3) (plain #"late\n")]
        [(equal? path "large") (plain (make-bytes 300000 120))]
        [(equal? path "none") (response/full 204 #"No Content" (current-seconds) #f '() '())]
        [(equal? path "upload") (plain (string->bytes/utf-8 (number->string (bytes-length (or (request-post-data/raw asked) #"")))))]
        [(equal? path "rows")
         (response/output #:mime-type #"text/plain"
                          (lambda (out) (for ([n 8]) (write-bytes #"row of some length\n" out) (flush-output out) (sleep 0.2))))]
        [else (plain #"small\n")]))
(serve/servlet answer #:port 8080 #:listen-ip #f #:servlet-regexp #rx"" #:command-line? #t #:launch-browser? #f)
