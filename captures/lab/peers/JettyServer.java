import java.io.IOException;
import java.io.OutputStream;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.handler.AbstractHandler;

/** Jetty, embedded, with its defaults: JettyServer PORT. Paths as in asgi_app.py. */
public class JettyServer extends AbstractHandler {
    @Override
    public void handle(String path, Request jetty, HttpServletRequest request, HttpServletResponse response) throws IOException {
        String[] words = path.split("/");
        jetty.setHandled(true);
        response.setContentType("text/plain");
        OutputStream body = response.getOutputStream();
        if (words[1].equals("bytes")) {
            response.setContentLength(Integer.parseInt(words[2]));
            body.write("j".repeat(Integer.parseInt(words[2])).getBytes());
        } else if (words[1].equals("chunks")) {
            for (int left = Integer.parseInt(words[2]); left > 0; left--) {
                body.write("j".repeat(400).getBytes());
                response.flushBuffer();
                pause(Integer.parseInt(words[3]));
            }
        } else {
            body.write(("received " + request.getInputStream().readAllBytes().length + " bytes\n").getBytes());
        }
    }

    static void pause(int milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
    }

    public static void main(String[] words) throws Exception {
        Server server = new Server(Integer.parseInt(words[0]));
        server.setHandler(new JettyServer());
        server.start();
    }
}
