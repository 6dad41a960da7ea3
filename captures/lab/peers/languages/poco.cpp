// POCO: HTTPServer with a small page, a late one, a large one, rows in chunks, an upload; HTTPClientSession as its client.
#include <Poco/Net/HTTPClientSession.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPRequestHandler.h>
#include <Poco/Net/HTTPRequestHandlerFactory.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/Net/HTTPServer.h>
#include <Poco/Net/HTTPServerRequest.h>
#include <Poco/Net/HTTPServerResponse.h>
#include <Poco/NullStream.h>
#include <Poco/StreamCopier.h>
#include <Poco/Thread.h>
using namespace Poco::Net;

struct Page : HTTPRequestHandler {
  void handleRequest(HTTPServerRequest &asked, HTTPServerResponse &to) override {
    auto path = asked.getURI();
    std::string body = "small\n";
    if (path == "/late") Poco::Thread::sleep(300);
    if (path == "/large") body.assign(300000, 'x');
    if (path == "/none") { to.setStatus(HTTPResponse::HTTP_NO_CONTENT); to.setContentLength(0); to.send(); return; }
    if (path == "/upload") { std::string all; Poco::StreamCopier::copyToString(asked.stream(), all); body = std::to_string(all.size()); }
    if (path == "/rows") {
      to.setChunkedTransferEncoding(true);
      auto &out = to.send();
      for (int n = 0; n < 8; n++) { out << "row of some length\n" << std::flush; Poco::Thread::sleep(200); }
      return;
    }
    to.setContentLength(body.size());
    to.send() << body;
  }
};

struct Pages : HTTPRequestHandlerFactory {
  HTTPRequestHandler *createRequestHandler(const HTTPServerRequest &) override { return new Page; }
};

int main(int, char **words) {
  if (std::string(words[1]) == "serve") {
    HTTPServer server(new Pages, ServerSocket(8080), new HTTPServerParams);
    server.start();
    Poco::Thread::sleep(600000);
  }
  HTTPClientSession session("10.9.0.2", 8080);
  session.setKeepAlive(true);
  auto ask = [&](const std::string &method, const std::string &path, const std::string &body) {
    HTTPRequest asked(method, path, HTTPMessage::HTTP_1_1);
    if (!body.empty()) asked.setContentLength(body.size());
    auto &out = session.sendRequest(asked);
    out << body << std::flush;
    HTTPResponse answer;
    Poco::NullOutputStream nowhere;
    Poco::StreamCopier::copyStream(session.receiveResponse(answer), nowhere);
  };
  for (int n = 0; n < 5; n++) {
    for (auto path : {"/small", "/late", "/large", "/none", "/rows"}) ask("GET", path, "");
    ask("POST", "/upload", std::string(20000, 'u'));
    Poco::Thread::sleep(300);
  }
}
