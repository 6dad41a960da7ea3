import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.io.OutputStream;
import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;

/** Tomcat, embedded, with its defaults: TomcatServer PORT FOLDER. Paths as in asgi_app.py. */
public class TomcatServer extends HttpServlet {
    @Override
    protected void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
        String[] words = request.getRequestURI().split("/");
        response.setContentType("text/plain");
        OutputStream body = response.getOutputStream();
        if (words[1].equals("bytes")) {
            response.setContentLength(Integer.parseInt(words[2]));
            body.write("t".repeat(Integer.parseInt(words[2])).getBytes());
        } else if (words[1].equals("chunks")) {
            for (int left = Integer.parseInt(words[2]); left > 0; left--) {
                body.write("t".repeat(400).getBytes());
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
        Tomcat server = new Tomcat();
        server.setBaseDir(words[1]);
        server.setPort(Integer.parseInt(words[0]));
        Context context = server.addContext("", words[1]);
        Tomcat.addServlet(context, "all", new TomcatServer());
        context.addServletMappingDecoded("/", "all");
        server.getConnector();
        server.start();
        server.getServer().await();
    }
}
