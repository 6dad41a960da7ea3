import java.io.IOException;
import org.apache.http.Header;
import org.apache.http.client.methods.CloseableHttpResponse;
import org.apache.http.client.methods.HttpGet;
import org.apache.http.impl.client.CloseableHttpClient;
import org.apache.http.impl.client.HttpClients;
import org.apache.http.util.EntityUtils;

/** Apache HttpClient 4, for ClientPool. */
public class HttpClient4Pool implements ClientPool.Pool {
    final CloseableHttpClient client = HttpClients.createDefault();

    public String get(String url) throws IOException {
        try (CloseableHttpResponse response = client.execute(new HttpGet(url))) {
            EntityUtils.consume(response.getEntity());
            Header port = response.getFirstHeader("X-Port");
            return port == null ? "" : port.getValue();
        }
    }
}
