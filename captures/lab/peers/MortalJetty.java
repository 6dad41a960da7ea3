import java.io.IOException;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.server.handler.AbstractHandler;

/** An application that can die, in Jetty: MortalJetty PORT LIMIT_MS. Paths as in mortal_app.py. */
public class MortalJetty extends AbstractHandler {
    @Override
    public void handle(String path, Request jetty, HttpServletRequest request, HttpServletResponse response) throws IOException {
        String[] words = path.split("/");
        int number = Integer.parseInt(words[2]);
        jetty.setHandled(true);
        if (!words[1].equals("bytes")) {
            pause(number);
        }
        if (words[1].equals("die")) {
            Runtime.getRuntime().halt(1);
        }
        request.getInputStream().readAllBytes();
        byte[] body = "y".repeat(words[1].equals("bytes") ? number : 20).getBytes();
        response.setContentType("text/plain");
        response.setHeader("X-Port", "" + request.getRemotePort());
        response.setContentLength(body.length);
        response.getOutputStream().write(body);
    }

    static void pause(int milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
    }

    public static void main(String[] words) throws Exception {
        Server server = new Server();
        ServerConnector connector = new ServerConnector(server);
        connector.setPort(Integer.parseInt(words[0]));
        connector.setIdleTimeout(Long.parseLong(words[1]));
        server.addConnector(connector);
        server.setHandler(new MortalJetty());
        server.start();
    }
}
