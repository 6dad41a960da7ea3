import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import org.apache.catalina.Context;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;

/** An application that can die, in Tomcat: MortalTomcat PORT FOLDER LIMIT_MS. Paths as in mortal_app.py. */
public class MortalTomcat extends HttpServlet {
    @Override
    protected void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
        String[] words = request.getRequestURI().split("/");
        int number = Integer.parseInt(words[2]);
        if (!words[1].equals("bytes")) {
            pause(number);
        }
        if (words[1].equals("die")) {
            Runtime.getRuntime().halt(1);
        }
        request.getInputStream().readAllBytes();
        byte[] body = "t".repeat(words[1].equals("bytes") ? number : 20).getBytes();
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
        Tomcat server = new Tomcat();
        server.setBaseDir(words[1]);
        server.setPort(Integer.parseInt(words[0]));
        Context context = server.addContext("", words[1]);
        Tomcat.addServlet(context, "all", new MortalTomcat());
        context.addServletMappingDecoded("/", "all");
        Connector connector = server.getConnector();
        connector.setProperty("keepAliveTimeout", words[2]);
        connector.setProperty("maxKeepAliveRequests", "-1");
        server.start();
        server.getServer().await();
    }
}
