import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** As threaded_pools.py, with java.net.http.HttpClient: BASE CONNECTIONS SECONDS AIM SPREAD BUSY. */
public class ClientPool {
    static final double STEP = 0.001;
    static String base;
    static double aim, spread;
    static long deadline;
    static int answered, lost;

    static String get(HttpClient client, String path) throws IOException, InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(URI.create(base + path)).timeout(Duration.ofSeconds(5)).build();
        HttpResponse<byte[]> response = client.send(request, BodyHandlers.ofByteArray());
        return response.headers().firstValue("X-Port").orElse("");
    }

    static HttpClient opened() {
        return HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    }

    static synchronized double count(boolean isAnswered, String before, String port) {
        if (isAnswered) answered++;
        else lost++;
        if (!isAnswered || !before.isEmpty()) aim += isAnswered && port.equals(before) ? STEP : -STEP;
        return Math.max(0, aim + spread * (2 * Math.random() - 1));
    }

    static void askAgain() {
        HttpClient client = opened();
        String port = "";
        while (System.nanoTime() < deadline) {
            try {
                String now = get(client, "/bytes/20");
                double rest = count(true, port, now);
                port = now;
                Thread.sleep((long) (1_000 * rest), (int) (1e9 * rest % 1e6));
            } catch (IOException e) {
                count(false, port, "");
            } catch (InterruptedException e) {
                return;
            }
        }
    }

    static void keepBusy(int milliseconds) {
        HttpClient client = opened();
        while (System.nanoTime() < deadline) {
            try {
                get(client, "/work/" + milliseconds);
                Thread.sleep((long) (10 + 90 * Math.random()));
            } catch (IOException e) {
                continue;
            } catch (InterruptedException e) {
                return;
            }
        }
    }

    public static void main(String[] words) throws InterruptedException {
        base = words[0];
        aim = Double.parseDouble(words[3]);
        spread = Double.parseDouble(words[4]);
        deadline = System.nanoTime() + (long) (1e9 * Double.parseDouble(words[2]));
        int busy = (int) Double.parseDouble(words[5]);
        List<Thread> all = new ArrayList<>();
        for (int n = 0; n < Double.parseDouble(words[1]); n++) all.add(new Thread(ClientPool::askAgain));
        if (busy > 0) all.add(new Thread(() -> keepBusy(busy)));
        for (Thread one : all) one.start();
        for (Thread one : all) one.join();
        System.out.printf("{\"answered\": %d, \"lost\": %d, \"aim\": %f}%n", answered, lost, aim);
        System.exit(0);
    }
}
