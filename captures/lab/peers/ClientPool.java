import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * As threaded_pools.py: ClientPool CLASS BASE CONNECTIONS SECONDS AIM SPREAD BUSY. CLASS is the pool: ClientPool$OfJava
 * (java.net.http.HttpClient), or a class of another file.
 */
public class ClientPool {
    /** A pool of one connection. get returns X-Port. */
    interface Pool {
        String get(String url) throws IOException, InterruptedException;
    }

    static class OfJava implements Pool {
        final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

        public String get(String url) throws IOException, InterruptedException {
            HttpRequest request = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(5)).build();
            HttpResponse<byte[]> response = client.send(request, BodyHandlers.ofByteArray());
            return response.headers().firstValue("X-Port").orElse("");
        }
    }

    static final double STEP = 0.001;
    static String kind, base;
    static double aim, spread;
    static long deadline;
    static int answered, lost;

    static Pool opened() {
        try {
            return (Pool) Class.forName(kind).getDeclaredConstructor().newInstance();
        } catch (ReflectiveOperationException e) {
            throw new IllegalArgumentException(e);
        }
    }

    static synchronized double count(boolean isAnswered, String before, String port) {
        if (isAnswered) answered++;
        else lost++;
        if (!isAnswered || !before.isEmpty()) aim += isAnswered && port.equals(before) ? STEP : -STEP;
        return Math.max(0, aim + spread * (2 * Math.random() - 1));
    }

    static void askAgain() {
        Pool pool = opened();
        String port = "";
        while (System.nanoTime() < deadline) {
            try {
                String now = pool.get(base + "/bytes/20");
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
        Pool pool = opened();
        while (System.nanoTime() < deadline) {
            try {
                pool.get(base + "/work/" + milliseconds);
                Thread.sleep((long) (10 + 90 * Math.random()));
            } catch (IOException e) {
                continue;
            } catch (InterruptedException e) {
                return;
            }
        }
    }

    public static void main(String[] words) throws InterruptedException {
        kind = words[0];
        base = words[1];
        aim = Double.parseDouble(words[4]);
        spread = Double.parseDouble(words[5]);
        deadline = System.nanoTime() + (long) (1e9 * Double.parseDouble(words[3]));
        int busy = (int) Double.parseDouble(words[6]);
        List<Thread> all = new ArrayList<>();
        for (int n = 0; n < Double.parseDouble(words[2]); n++) all.add(new Thread(ClientPool::askAgain));
        if (busy > 0) all.add(new Thread(() -> keepBusy(busy)));
        for (Thread one : all) one.start();
        for (Thread one : all) one.join();
        System.out.printf("{\"answered\": %d, \"lost\": %d, \"aim\": %f}%n", answered, lost, aim);
        System.exit(0);
    }
}
