import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

/** Requests with one java.net.http.HttpClient: PAUSE {METHOD BODY URL}..., as in requests_of.py; !SIZE for Expect: 100-continue. */
public class HttpClientCaller {
    public static void main(String[] words) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int at = 1; at < words.length; at += 3) {
            String body = words[at + 1];
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(words[at + 2])).method(words[at], publisher(body));
            client.send(request.expectContinue(body.startsWith("!")).build(), BodyHandlers.ofByteArray());
            Thread.sleep((long) (1_000 * Double.parseDouble(words[0])));
        }
    }

    static BodyPublisher publisher(String body) {
        if (body.isEmpty()) return BodyPublishers.noBody();
        boolean marked = !Character.isDigit(body.charAt(0));
        byte[] content = new byte[Integer.parseInt(marked ? body.substring(1) : body)];
        if (body.startsWith("~")) return BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(content));
        return BodyPublishers.ofByteArray(content);
    }
}
