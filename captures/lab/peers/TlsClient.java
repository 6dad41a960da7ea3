import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.URL;
import java.time.Duration;
import javax.net.ssl.HttpsURLConnection;

/** Sends requests with HttpClient or HttpsURLConnection: TlsClient LIBRARY URL REQUESTS SECONDS. */
class TlsClient {
    public static void main(String[] words) throws Exception {
        for (int i = 0; i < Integer.parseInt(words[2]); i++) {
            Duration limit = Duration.ofMillis((long) (1000 * Double.parseDouble(words[3])));
            if (words[0].equals("httpclient")) {
                HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(limit).build();
                HttpRequest request = HttpRequest.newBuilder(URI.create(words[1])).timeout(limit).build();
                client.send(request, HttpResponse.BodyHandlers.ofString());
            } else {
                HttpsURLConnection connection = (HttpsURLConnection) new URL(words[1]).openConnection();
                connection.setConnectTimeout((int) limit.toMillis());
                connection.setReadTimeout((int) limit.toMillis());
                connection.getInputStream().readAllBytes();
            }
        }
    }
}
