import java.io.IOException;
import org.apache.hc.client5.http.classic.methods.HttpGet;
import org.apache.hc.client5.http.impl.classic.CloseableHttpClient;
import org.apache.hc.client5.http.impl.classic.HttpClients;
import org.apache.hc.core5.http.Header;
import org.apache.hc.core5.http.io.entity.EntityUtils;

/** Apache HttpClient 5, for ClientPool. */
public class HttpClient5Pool implements ClientPool.Pool {
    final CloseableHttpClient client = HttpClients.createDefault();

    public String get(String url) throws IOException {
        return client.execute(new HttpGet(url), response -> {
            EntityUtils.consume(response.getEntity());
            Header port = response.getFirstHeader("X-Port");
            return port == null ? "" : port.getValue();
        });
    }
}
