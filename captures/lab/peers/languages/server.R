# httpuv: a small page, a late one, a large one, an upload, a WebSocket that says the time.
library(httpuv)
plain <- function(text) list(status = 200L, headers = list("Content-Type" = "text/plain"), body = text)
startServer("0.0.0.0", 8080, list(
  call = function(asked) {
    if (asked$PATH_INFO == "/late") { Sys.sleep(0.3); return(plain("late\n")) }
    if (asked$PATH_INFO == "/large") return(plain(strrep("x", 300000)))
    if (asked$PATH_INFO == "/none") return(list(status = 204L, headers = list(), body = ""))
    if (asked$PATH_INFO == "/upload") return(plain(as.character(length(asked$rook.input$read()))))
    plain("small\n")
  },
  onWSOpen = function(to) to$onMessage(function(binary, message) to$send(message))
))
while (TRUE) service(250)
