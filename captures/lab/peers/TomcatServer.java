import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.io.OutputStream;
import org.apache.catalina.Context;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;

/**
 * Tomcat, embedded: TomcatServer PORT FOLDER [LIMIT_MS]. Paths as in asgi_app.py; /slow/MS and /die/MS as in mortal_app.py.
 * Without LIMIT_MS it has its defaults.
 */
public class TomcatServer extends HttpServlet {
    @Override
    protected void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
        String[] words = request.getRequestURI().split("/");
        int number = words.length > 2 ? Integer.parseInt(words[2]) : 0;
        if (words[1].equals("slow") || words[1].equals("die")) {
            pause(number);
        }
        if (words[1].equals("die")) {
            Runtime.getRuntime().halt(1);
        }
        response.setContentType("text/plain");
        response.setHeader("X-Port", "" + request.getRemotePort());
        OutputStream body = response.getOutputStream();
        if (words[1].equals("chunks")) {
            for (int left = number; left > 0; left--) {
                body.write("t".repeat(400).getBytes());
                response.flushBuffer();
                pause(Integer.parseInt(words[3]));
            }
            return;
        }
        int received = request.getInputStream().readAllBytes().length;
        byte[] all = (words[1].equals("bytes") ? "t".repeat(number) : "received " + received + " bytes\n").getBytes();
        response.setContentLength(all.length);
        body.write(all);
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
        Connector connector = server.getConnector();
        if (words.length > 2) {
            connector.setProperty("keepAliveTimeout", words[2]);
            connector.setProperty("maxKeepAliveRequests", "-1");
        }
        server.start();
        server.getServer().await();
    }
}
