import java.util.concurrent.*;
import org.apache.http.client.config.RequestConfig;
import org.apache.http.client.methods.*;
import org.apache.http.entity.ByteArrayEntity;
import org.apache.http.impl.client.*;
import org.apache.http.impl.conn.PoolingHttpClientConnectionManager;
import org.apache.http.util.EntityUtils;

/** Apache HttpClient with a pool of four connections: java -cp ... PooledClient.java URL */
public class PooledClient {
    public static void main(String[] words) throws Exception {
        var pool = new PoolingHttpClientConnectionManager();
        pool.setDefaultMaxPerRoute(4);
        pool.setValidateAfterInactivity(500);
        var config = RequestConfig.custom().setSocketTimeout(8000).build();
        var client = HttpClients.custom().setConnectionManager(pool).setDefaultRequestConfig(config).build();
        var threads = Executors.newFixedThreadPool(4);
        for (int n = 0; n < 12; n++) {
            for (String path : new String[] {"small", "late", "large", "rows"}) {
                threads.submit(() -> {
                    try (var answer = client.execute(new HttpGet(words[0] + "/" + path))) {
                        EntityUtils.consume(answer.getEntity());
                    }
                    return null;
                });
            }
            var post = new HttpPost(words[0] + "/upload");
            post.setEntity(new ByteArrayEntity(new byte[20_000]));
            threads.submit(() -> { try (var answer = client.execute(post)) { EntityUtils.consume(answer.getEntity()); } return null; });
            Thread.sleep(n % 4 == 3 ? 2300 : 500);
        }
        threads.shutdown();
        threads.awaitTermination(8, TimeUnit.SECONDS);
        client.close();
    }
}
