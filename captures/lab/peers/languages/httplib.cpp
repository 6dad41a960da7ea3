// cpp-httplib: as a server a small page, a late one, a large one, rows in chunks, an upload; as a client two that keep, one that does not.
#include <chrono>
#include <cstring>
#include <httplib.h>
#include <thread>
using namespace std::chrono_literals;

static void serve() {
  httplib::Server server;
  server.Get("/small", [](const auto &, auto &to) { to.set_content("small\n", "text/plain"); });
  server.Get("/late", [](const auto &, auto &to) { std::this_thread::sleep_for(300ms); to.set_content("late\n", "text/plain"); });
  server.Get("/large", [](const auto &, auto &to) { to.set_content(std::string(300000, 'x'), "text/plain"); });
  server.Get("/none", [](const auto &, auto &to) { to.status = 204; });
  server.Get("/rows", [](const auto &, auto &to) {
    to.set_chunked_content_provider("text/plain", [](size_t at, httplib::DataSink &out) {
      if (at >= 80) { out.done(); return true; }
      out.write("row 00001\n", 10); std::this_thread::sleep_for(200ms); return true; });
  });
  server.Post("/upload", [](const auto &asked, auto &to) { to.set_content(std::to_string(asked.body.size()), "text/plain"); });
  server.listen("0.0.0.0", 8080);
}

static void use(bool keep) {
  httplib::Client client("10.9.0.2", 8080);
  client.set_keep_alive(keep);
  for (int n = 0; n < 5; n++) {
    for (auto path : {"/small", "/late", "/large", "/none", "/rows"}) client.Get(path);
    client.Post("/upload", std::string(20000, 'u'), "text/plain");
    std::this_thread::sleep_for(n == 3 ? 5500ms : 300ms);
  }
}

int main(int, char **words) {
  if (!strcmp(words[1], "serve")) serve();
  else use(!strcmp(words[1], "keep"));
}
