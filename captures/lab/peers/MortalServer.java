import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

/** An application that can die, on the JDK's own HTTP server: MortalServer PORT. Paths as in mortal_app.py. */
public class MortalServer {
    static void answer(HttpExchange exchange) throws IOException {
        String[] words = exchange.getRequestURI().getPath().split("/");
        int number = Integer.parseInt(words[2]);
        if (!words[1].equals("bytes")) {
            pause(number);
        }
        if (words[1].equals("die")) {
            Runtime.getRuntime().halt(1);
        }
        exchange.getRequestBody().readAllBytes();
        byte[] body = "j".repeat(words[1].equals("bytes") ? number : 20).getBytes();
        exchange.getResponseHeaders().set("X-Port", "" + exchange.getRemoteAddress().getPort());
        exchange.getResponseHeaders().set("Content-Type", "text/plain");
        exchange.sendResponseHeaders(200, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    static void pause(int milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
    }

    public static void main(String[] words) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress(Integer.parseInt(words[0])), 128);
        server.setExecutor(Executors.newFixedThreadPool(16));
        server.createContext("/", MortalServer::answer);
        server.start();
    }
}
